from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import hypergeom

from focus_core.errors import SettingsError
from focus_core.metrics import band_iou, band_iou_ceiling, band_iou_chance


@st.composite
def references_and_groups(draw, groups=5):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=groups))
    group_of_band = np.repeat(np.arange(len(sizes)), sizes)
    group_of_band = np.concatenate([group_of_band, np.full(draw(st.integers(0, 3)), -1)])
    return draw(hnp.arrays(np.bool_, group_of_band.size)), group_of_band


def curve_of(values, group_of_band):
    return np.where(group_of_band >= 0, np.asarray(values, float)[group_of_band], np.nan)


def of_all_orders(reference, group_of_band):
    groups = group_of_band.max() + 1
    curves = [curve_of(order, group_of_band) for order in permutations(range(1, groups + 1))]
    return [band_iou(curve, reference) for curve in curves]


@given(references_and_groups())
@settings(max_examples=50, deadline=None)
def test_ceiling_is_the_best_of_all_orders_of_the_groups(case):
    reference, group_of_band = case
    expected = max(of_all_orders(reference, group_of_band))
    assert band_iou_ceiling(reference, group_of_band) == pytest.approx(expected, nan_ok=True)


@given(references_and_groups(), st.lists(st.integers(-3, 5), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_curve_that_is_constant_on_groups_beats_the_ceiling(case, values):
    reference, group_of_band = case
    achieved = band_iou(curve_of(values, group_of_band), reference)
    if np.isnan(achieved):
        assert np.isnan(band_iou_ceiling(reference, group_of_band))
    else:
        assert achieved <= band_iou_ceiling(reference, group_of_band) + 1e-12


@given(references_and_groups(groups=4))
@settings(max_examples=30, deadline=None)
def test_chance_is_the_mean_of_all_orders_of_the_groups_and_below_the_ceiling(case):
    reference, group_of_band = case
    chance = band_iou_chance(reference, group_of_band)
    if np.isnan(chance):
        assert not reference[group_of_band >= 0].any()
    else:
        assert chance == pytest.approx(np.mean(of_all_orders(reference, group_of_band)), abs=0.025)
        assert 0 <= chance <= band_iou_ceiling(reference, group_of_band) + 1e-12


def test_chance_of_single_bands_is_the_hypergeometric_one():
    reference, bands = np.arange(40) < 12, np.arange(40)
    overlap = np.arange(13)
    expected = (hypergeom.pmf(overlap, 40, 12, 12) * overlap / (24 - overlap)).sum()
    assert band_iou_chance(reference, bands, draws=40_000) == pytest.approx(expected, abs=0.002)
    assert band_iou_ceiling(reference, bands) == 1


def test_the_ceiling_is_one_for_a_reference_made_of_whole_groups_and_falls_with_wider_groups():
    bands = np.arange(24)
    reference = (bands >= 6) & (bands < 12)
    ceilings = [band_iou_ceiling(reference, bands // width) for width in (3, 6, 8, 24)]
    assert ceilings[:2] == [1, 1]
    assert ceilings[1] > ceilings[2] > ceilings[3]
    assert ceilings[3] == pytest.approx(band_iou_chance(reference, bands // 24))  # one group says nothing


def test_chance_depends_on_the_seed_only():
    reference, group_of_band = np.arange(30) % 4 == 0, np.arange(30) // 5
    assert band_iou_chance(reference, group_of_band, seed=3) == band_iou_chance(reference, group_of_band, seed=3)


def test_bounds_depend_on_the_partition_not_on_the_names_of_the_groups():
    reference = np.arange(20) < 7
    group_of_band = np.arange(20) // 4
    assert band_iou_ceiling(reference, group_of_band) == band_iou_ceiling(reference, 40 - 3 * group_of_band)


def test_a_reference_outside_all_groups_is_not_applicable():
    reference, group_of_band = np.array([True, False, False]), np.array([-1, 0, 0])
    assert np.isnan(band_iou_ceiling(reference, group_of_band))
    assert np.isnan(band_iou_chance(reference, group_of_band))


def test_no_draws_are_refused():
    with pytest.raises(SettingsError, match="at least 1 draw, found 0"):
        band_iou_chance(np.ones(2, bool), np.arange(2), draws=0)
