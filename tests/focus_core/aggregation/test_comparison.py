import numpy as np
import pytest
import xarray as xr

import focus_core.api  # noqa: F401 - registers the accessor
from focus_core.aggregation import campaign_importance, compare_treatments
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.errors import SettingsError, StoreError
from tests.focus_core.aggregation.small_field import GROUPS, explanation, joined, plot_ids, read_by_hand, write_flight


@pytest.fixture
def store(tmp_path):
    """Two flights over 48 plots in 16 blocks; in each block one plot of each class, whose own group speaks."""
    parts = []
    for number in (1, 2):
        name = f"flight_{number}"
        campaign = CampaignFile(write_flight(tmp_path, name, date=f"2026-0{number}-01").file).campaign
        dataset = explanation(name, plot_ids(48), seed=number).chunk({"tile": 64})
        plots = read_by_hand(plot_ids(48))
        parts.append(campaign_importance(dataset, campaign, plots, settings=AggregateSettings()).compute())
    found = joined(tmp_path, *parts)
    found["fold"] = xr.full_like(found["fold"].compute(), "test")
    return found.load()


def test_what_was_planted_is_found_and_nothing_else(store):
    table = store.sel(campaign="flight_1").focus.compare("drought", "control")
    assert list(table.columns) == ["lo_nm", "hi_nm", "difference", "lo", "hi", "p_adjusted"]
    assert table.index[0] == "swir"  # speaks for drought
    assert (table.loc["swir", ["lo_nm", "hi_nm"]] == list(GROUPS["swir"])).all()
    assert table.loc["swir", "lo"] > 0.8
    assert set(table.index[table["p_adjusted"] < 0.05]) == {"swir", "green"}
    assert table.loc["green", "lo"] > 0.0  # speaks for control, and so against drought on control's plots
    assert table["p_adjusted"].is_monotonic_increasing
    assert table.attrs == {"plots": {"drought": 16, "control": 16}, "blocks": 16}


def test_the_difference_is_that_of_the_plots_means(store):
    flight = store.sel(campaign="flight_2")
    table = compare_treatments(flight, "drought", "control", cls="low_nitrogen")
    spoke = flight["importance"].sel(cls="low_nitrogen").groupby("group_of_band").sum()
    spoke = spoke.sel(group_of_band=range(4)).transpose("plot", ...)
    gap = spoke[(flight["label"] == 2).values].mean("plot") - spoke[(flight["label"] == 0).values].mean("plot")
    np.testing.assert_allclose(table["difference"].loc[list(GROUPS)], gap, atol=1e-6)


def test_a_plot_counts_once_over_several_flights(store):
    both = compare_treatments(store, "drought", "control")
    single = [compare_treatments(store.sel(campaign=name), "drought", "control") for name in ("flight_1", "flight_2")]
    mean = sum(table["difference"].loc[list(GROUPS)] for table in single) / 2
    np.testing.assert_allclose(both["difference"].loc[list(GROUPS)], mean, atol=1e-6)
    assert both.attrs["plots"] == {"drought": 16, "control": 16}


def test_the_family_is_the_same_whichever_curve_is_looked_at(store):
    flight = store.sel(campaign="flight_1")
    own = compare_treatments(flight, "drought", "control")
    alone = compare_treatments(flight.isel(cls=[2]), "drought", "control")
    assert (own["p_adjusted"] >= alone["p_adjusted"].loc[own.index] - 1e-12).all()


def test_only_plots_of_the_fold_that_are_present_count(store):
    store["fold"][:, :24] = "train"
    store["present"][:, 24] = False
    table = compare_treatments(store, "drought", "control")
    assert table.attrs == {"plots": {"drought": 7, "control": 7}, "blocks": 7}
    assert compare_treatments(store, "drought", "control", fold=None).attrs["blocks"] == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drougth", "control"), "no class 'drougth'; the store holds control, low_nitrogen, drought"),
        (("drought", "drought"), "cannot be compared with itself"),
    ],
)
def test_unknown_names_are_refused(store, arguments, message):
    with pytest.raises(SettingsError, match=message):
        store.focus.compare(*arguments)


def test_an_unknown_fold_and_a_class_that_is_no_name_are_refused(store):
    with pytest.raises(SettingsError, match="there is no fold 'Test'; known: train, validation, gate, test, and None"):
        store.focus.compare("drought", "control", fold="Test")
    with pytest.raises(SettingsError, match="there is no fold 'Test'"):
        store.focus.change("drought", fold="Test")
    with pytest.raises(SettingsError, match="there is no cls '1' among"):
        store.focus.curve(1)


def test_a_store_without_shared_blocks_is_refused(store):
    with pytest.raises(StoreError, match="names no trial blocks; run aggregate again"):
        store.drop_vars("block").focus.compare("drought", "control")
    with pytest.raises(StoreError, match=r"in the fold 'gate': 0 plots in 0 blocks"):
        store.focus.compare("drought", "control", fold="gate")
    alone = store.assign(block=store["block"].copy(data=np.broadcast_to(store["plot"].values, (2, 48))))
    with pytest.raises(StoreError, match="too few trial blocks hold plots of both 'drought' and 'control'"):
        alone.focus.compare("drought", "control")
    turned = store.copy(deep=True)
    turned["label"][0, 0] = 2
    with pytest.raises(StoreError, match="one treatment in one flight and the other in another"):
        turned.focus.compare("drought", "control")
    with pytest.raises(StoreError, match=r"open importance\.zarr"):
        xr.Dataset().focus.compare("drought", "control")
