import numpy as np
import pytest

import focus_core.api  # noqa: F401 - registers the accessor
from focus_core.config import AggregateSettings
from focus_core.cubes.schema import IMPORTANCE
from focus_core.cubes.store import open_store
from focus_core.report.change import change_since
from focus_core.report.flight import read_flight
from focus_core.steps.aggregate import aggregate
from tests.focus_core.aggregation.small_field import CLASSES, plot_ids, write_flight
from tests.focus_core.report.test_curves import flight


def test_change_is_later_minus_earlier_over_the_plots_that_both_explain():
    earlier = flight(5, np.ones((5, 3, 2)))
    later = flight(6, np.full((6, 3, 2), 3.0))
    change = change_since(later, earlier, reference_class="control")
    assert {curve.name: curve.plots for curve in change.curves} == {"control": 2, "low_nitrogen": 2, "drought": 1}
    np.testing.assert_allclose(change.curves[0].mean, 2.0)
    assert (change.missing, change.new) == ((), ("P5",))


def test_beside_each_stress_stands_what_its_curve_did_on_control_plots():
    rng = np.random.default_rng(0)
    earlier, later = (flight(6, rng.normal(size=(6, 3, 2))) for _ in range(2))
    change = change_since(later, earlier, reference_class="control")
    assert sorted(change.control) == ["drought", "low_nitrogen"]
    for name, curve in change.control.items():
        assert (curve.name, curve.plots) == ("control", 2)
        index = CLASSES.index(name)
        wanted = (later.per_nm - earlier.per_nm)[[0, 3], index].mean(axis=0)
        np.testing.assert_allclose(curve.mean, wanted)
    assert change_since(later, earlier, reference_class=None).control == {}


def test_flights_without_a_common_plot_have_no_change_and_say_which_plots_are_missing_and_new():
    change = change_since(flight(2), flight(2, plots=("X", "Y")), reference_class="control")
    assert change.curves == ()
    assert (change.missing, change.new) == (("X", "Y"), ("P0", "P1"))


@pytest.mark.parametrize("name", CLASSES)
def test_the_page_and_the_accessor_say_the_same(two, name):
    later, earlier = (read_flight(two, f"flight_{number}", "here") for number in (2, 1))
    change = change_since(later, earlier, reference_class="control")
    (curve,) = [each for each in change.curves if each.name == name]
    table = two.focus.change(name, treatment=name, fold=None)
    width = later.hi_nm - later.lo_nm
    for column in ("change", "lo", "hi"):
        own = curve.mean if column == "change" else getattr(curve, column)
        np.testing.assert_allclose(own * width, table[column], atol=1e-6)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    target = str(folder / "importance.zarr")
    for number, ids in ((1, plot_ids(12)), (2, plot_ids(13)[1:])):
        own = write_flight(folder, f"flight_{number}", ids=ids, seed=number, date=f"2026-0{number}-01")
        uris = [own.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(own.file, *uris, target, settings=AggregateSettings())
    return open_store(target, IMPORTANCE).load()
