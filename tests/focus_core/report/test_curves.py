import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_core.report.curves import class_curves, mean_interval
from focus_core.report.flight import Flight
from tests.focus_core.aggregation.small_field import CLASSES, reference


def flight(count=6, per_nm=None, **changed):
    labels = tuple(CLASSES[n % 3] for n in range(count))
    whole = Flight(
        campaign="f", date="2026-06-01", classes=CLASSES, groups=("a", "b"), lo_nm=np.array([500.0, 700.0]),
        hi_nm=np.array([600.0, 900.0]), plots=tuple(f"P{n}" for n in range(count)), absent=(),
        per_nm=np.zeros((count, 3, 2)) if per_nm is None else per_nm, probability=np.full((count, 3), 1 / 3),
        sink_share=np.zeros((count, 3, 2)), area=np.ones(count), n_eff=np.ones(count), label=labels,
        fold=("train",) + ("test",) * (count - 1), geometry=("POLYGON EMPTY",) * count, indices={},
    )  # fmt: skip
    return dataclasses.replace(whole, **changed)


def test_a_curve_is_the_mean_over_the_plots_of_its_class_for_that_class_alone():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 3, 2))
    curves = class_curves(flight(per_nm=values), None, draws=200)
    assert [curve.name for curve in curves] == list(CLASSES)
    for index, curve in enumerate(curves):
        np.testing.assert_allclose(curve.mean, values[index::3, index].mean(axis=0))
        assert (curve.lo <= curve.mean).all()
        assert (curve.mean <= curve.hi).all()
    assert [curve.trained for curve in curves] == [1, 0, 0]


def test_a_class_without_plots_has_no_curve_and_one_plot_has_no_interval():
    curves = class_curves(flight(2), None, draws=100)
    assert [curve.name for curve in curves] == ["control", "low_nitrogen"]
    assert np.isnan(curves[0].lo).all()


def test_reference_ranges_are_the_runs_of_bands_of_the_class_alone():
    curves = {curve.name: curve for curve in class_curves(flight(), reference(), draws=100)}
    assert curves["control"].reference_nm == ()
    assert curves["low_nitrogen"].reference_nm == ((680.0, 760.0),)
    assert curves["drought"].reference_nm == ((1440.0, 1780.0),)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        lo, hi = mean_interval(rng.normal(1.0, 1.0, (40, 1)), draws=400)
        inside += bool(lo[0] <= 1.0 <= hi[0])
    assert 0.88 <= inside / 200 <= 0.99


@given(value=st.floats(-1e6, 1e6), count=st.integers(2, 9))
def test_plots_that_agree_leave_no_doubt(value, count):
    lo, hi = mean_interval(np.full((count, 3), value), draws=100)
    np.testing.assert_allclose([lo, hi], value, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_plots_have_no_interval(count):
    assert np.isnan(mean_interval(np.zeros((count, 4)), draws=100)).all()
