import numpy as np
import pytest
from scipy import stats

import focus_core.api  # noqa: F401 - registers the accessor
from focus_core.aggregation import campaign_importance
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.errors import SettingsError, StoreError
from tests.focus_core.aggregation.small_field import (
    CLASSES,
    GROUPS,
    explanation,
    joined,
    plot_ids,
    read_by_hand,
    write_flight,
)

RISE = 1.5
"""Of the short-wave infrared's evidence for drought on drought plots, from the first flight to the second."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two flights: P01 to P25, then P02 to P26; drought plots speak more for drought in the second."""
    folder, parts = tmp_path_factory.mktemp("change"), []
    for number, ids in ((1, plot_ids(25)), (2, plot_ids(26)[1:])):
        name = f"flight_{number}"
        campaign = CampaignFile(write_flight(folder, name, date=f"2026-0{number}-01").file).campaign
        dataset = explanation(name, ids, seed=number)
        if number == 2:
            dataset["importance"][dataset["label"] == 2, 2, list(GROUPS).index("swir")] += RISE
        plots = read_by_hand(plot_ids(26)).loc[ids]
        part = campaign_importance(dataset.chunk({"tile": 64}), campaign, plots, settings=AggregateSettings())
        parts.append(part.compute().assign_attrs(sources={}))
    return joined(folder, *parts).load()


@pytest.fixture
def store(whole):
    return whole.copy(deep=True)


def test_a_planted_rise_is_found_in_its_group_and_treatment_alone(store):
    drought = store.focus.change("drought", treatment="drought", fold=None)
    assert list(drought.columns) == ["lo_nm", "hi_nm", "change", "lo", "hi"]
    assert list(drought.index) == list(GROUPS)
    assert drought.loc["swir", "lo"] < RISE < drought.loc["swir", "hi"]
    assert drought.loc["swir", "lo"] > 0.5
    control = store.focus.change("drought", treatment="control", fold=None)
    assert control["change"].abs().max() < 0.5
    every = store.focus.change("drought", fold=None)
    parts = [store.focus.change("drought", treatment=name, fold=None) for name in CLASSES]
    weights = [part.attrs["plots"] for part in parts]
    mean = np.average([part["change"] for part in parts], axis=0, weights=weights)
    np.testing.assert_allclose(every["change"], mean)


def test_plots_are_paired_by_their_id_and_the_interval_is_that_of_their_differences(store):
    table = store.focus.change("low_nitrogen", treatment="low_nitrogen", fold=None)
    own = store["importance"].sel(cls="low_nitrogen").groupby("group_of_band").sum().sel(group_of_band=range(4))
    own = own.isel(plot=(store["present"].all("campaign") & (store["label"] == 1).all("campaign")).to_numpy())
    before, after = own.transpose("campaign", "plot", ...).to_numpy()
    interval = stats.ttest_rel(after, before).confidence_interval(0.95)
    np.testing.assert_allclose(table["change"], (after - before).mean(axis=0))
    np.testing.assert_allclose(table["lo"], interval.low)
    np.testing.assert_allclose(table["hi"], interval.high)


def test_missing_and_new_plots_are_named_and_do_not_count(store):
    table = store.focus.change("drought", fold=None)
    assert table.attrs == {
        "earlier": "flight_1", "later": "flight_2", "plots": 24, "missing": ["P01"], "new": ["P26"],
    }  # fmt: skip
    back = store.focus.change("drought", earlier="flight_2", later="flight_1", fold=None)
    assert (back.attrs["missing"], back.attrs["new"]) == (["P26"], ["P01"])
    np.testing.assert_allclose(back["change"], -table["change"])
    only = store.focus.change("drought", treatment="low_nitrogen", fold=None)
    assert (only.attrs["missing"], only.attrs["new"]) == ([], ["P26"])  # P01 is a control plot


def test_only_plots_of_the_fold_count(store):
    tested = store.focus.change("drought")
    fold = (store["fold"] == "test").all("campaign") & store["present"].all("campaign")
    assert tested.attrs["plots"] == int(fold.sum()) < 24


def test_one_plot_has_a_change_and_no_interval(store):
    both = store.isel(plot=[0, 1])
    table = both.focus.change("drought", fold=None)
    assert table.attrs["plots"] == 1
    assert table["change"].notna().all()
    assert table[["lo", "hi"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("drougth", {}), SettingsError, "no class 'drougth'; the store holds control, low_nitrogen, drought"),
        (("drought", {"treatment": "salt"}), SettingsError, "no class 'salt'"),
        (("drought", {"earlier": "flight_9"}), SettingsError, "no flight 'flight_9'; the store holds flight_1"),
        (("drought", {"earlier": "flight_2"}), SettingsError, "'flight_2' cannot be compared with itself"),
    ],
)
def test_unknown_names_are_refused(store, arguments, error, message):
    cls, named = arguments
    with pytest.raises(error, match=message):
        store.focus.change(cls, **named)


def test_what_holds_no_two_flights_with_a_common_plot_is_refused(store):
    with pytest.raises(StoreError, match="a change needs two flights"):
        store.sel(campaign="flight_1").focus.change("drought")
    with pytest.raises(StoreError, match=r"no plot of 'drought' is explained in both 'flight_1' and 'flight_2' in the"):
        store.isel(plot=slice(0, 4)).focus.change("drought", treatment="drought")
    with pytest.raises(StoreError, match=r"open importance\.zarr"):
        store.drop_dims("plot").focus.change("drought")
