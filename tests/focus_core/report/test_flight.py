import numpy as np
import pytest

from focus_core.aggregation import campaign_importance
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.errors import StoreError
from focus_core.report.flight import read_flight
from focus_core.report.table import plot_rows
from tests.focus_core.aggregation.small_field import CLASSES, explanation, plot_ids, read_by_hand, write_flight


@pytest.fixture
def importance(tmp_path):
    campaign = CampaignFile(write_flight(tmp_path).file).campaign
    part = explanation(ids=plot_ids(11)).chunk({"tile": 8})
    return campaign_importance(part, campaign, read_by_hand(plot_ids()), settings=AggregateSettings()).compute()


def test_importance_by_group_adds_up_to_the_logit(importance):
    flight = read_flight(importance, "flight_1", "here")
    logit = importance["logit"].isel(campaign=0, plot=slice(11))
    bias = importance["bias"].isel(campaign=0, plot=slice(11))
    np.testing.assert_allclose(flight.importance.sum(axis=-1) + bias, logit, atol=1e-5)
    assert flight.absent == ("P12",)
    assert len(flight.plots) == 11


def test_plots_are_grouped_by_their_true_class_where_labels_are_known_else_by_the_predicted(importance):
    assert read_flight(importance, "flight_1", "here").grouping[:3] == CLASSES
    importance["label"][:] = -1
    flight = read_flight(importance, "flight_1", "here")
    assert not flight.labelled
    assert flight.grouping == tuple(CLASSES[index] for index in flight.predicted)


def test_a_row_names_the_groups_that_speak_most_and_none_that_speaks_against(importance):
    rows = plot_rows(read_flight(importance, "flight_1", "here"))
    assert [row.plot for row in rows] == plot_ids(11)
    strongest = {"control": "green", "low_nitrogen": "red_edge", "drought": "swir"}
    assert all(row.top[0].name == strongest[row.predicted] for row in rows)
    assert all(group.importance > 0 for row in rows for group in row.top)
    assert all(row.confidence == importance["probability"].sel(plot=row.plot).max() for row in rows)


def test_a_plot_of_unknown_class_is_never_called_wrong(importance):
    importance["label"][:, 0] = -1
    importance["label"][:, 1] = 0
    rows = plot_rows(read_flight(importance, "flight_1", "here"))
    assert [row.wrong for row in rows[:3]] == [False, True, False]


def test_a_campaign_that_the_store_does_not_hold_is_refused_with_those_it_holds(importance):
    with pytest.raises(StoreError, match=r"'here' holds the campaigns \['flight_1'\], not 'flight_9'"):
        read_flight(importance, "flight_9", "here")


def test_a_flight_that_explains_nothing_is_refused(importance):
    importance["present"][:] = False
    with pytest.raises(StoreError, match="no plot of 'flight_1' is explained"):
        read_flight(importance, "flight_1", "here")


def test_a_row_holds_the_indices_that_the_sensor_allows(importance):
    values = np.stack([np.linspace(0.2, 0.8, 12), np.full(12, np.nan)], axis=1)[None]
    values[0, 2, 0] = np.nan
    seen = importance.assign(vegetation_index=(("campaign", "plot", "index"), values))
    seen = seen.assign_coords(index=np.array(["NDVI", "PRI"], dtype=np.dtypes.StringDType()))
    flight = read_flight(seen, "flight_1", "here")
    assert list(flight.indices) == ["NDVI"]
    rows = plot_rows(flight)
    assert rows[0].indices == (pytest.approx(0.2),)
    assert rows[2].indices == (None,)
    assert plot_rows(read_flight(importance, "flight_1", "here"))[0].indices == ()
