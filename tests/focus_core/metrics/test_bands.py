import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr
from torchmetrics.functional.classification import binary_jaccard_index

from focus_core.errors import SettingsError
from focus_core.metrics import (
    band_iou,
    effect_size_correlation,
    mass_in_reference,
    mass_over_chance,
    null_share,
    soft_iou,
    spectral_pointing,
    top_bands,
)

NAN = float("nan")
BANDS = st.integers(2, 30)
VALUES = st.one_of(st.just(NAN), st.integers(-8, 8).map(float))  # small integers tie often


@st.composite
def curves_and_references(draw):
    size = draw(BANDS)
    curve = draw(hnp.arrays(np.float64, size, elements=VALUES))
    reference = draw(hnp.arrays(np.bool_, size))
    return curve, reference


def same(first, second):
    return first == pytest.approx(second, nan_ok=True, abs=1e-12)


@given(curves_and_references(), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_top_bands_select_the_asked_number_and_never_a_band_that_is_not_seen(case, count):
    curve, _ = case
    chosen = top_bands(curve, count)
    seen = ~np.isnan(curve)
    assert chosen.sum() == pytest.approx(min(count, seen.sum()))
    assert ((chosen >= 0) & (chosen <= 1)).all()
    assert (chosen[~seen] == 0).all()
    order = np.argsort(np.maximum(curve[seen], 0), kind="stable")
    assert (np.diff(chosen[seen][order]) >= 0).all()


@given(curves_and_references())
@settings(max_examples=40, deadline=None)
def test_scores_lie_in_the_unit_interval_or_are_nan_where_documented(case):
    curve, reference = case
    seen_reference = (reference & ~np.isnan(curve)).any()
    positive = np.nansum(np.maximum(curve, 0)) > 0
    for metric in (band_iou, spectral_pointing):
        value = metric(curve, reference)
        assert 0 <= value <= 1 if seen_reference else np.isnan(value)
    for metric in (soft_iou, mass_in_reference):
        value = metric(curve, reference)
        assert 0 <= value <= 1 + 1e-12 if seen_reference and positive else np.isnan(value)


@given(curves_and_references(), st.floats(1e-6, 1e6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_scores_do_not_depend_on_scale_or_on_the_order_of_the_bands(case, scale, random):
    curve, reference = case
    order = list(range(curve.size))
    random.shuffle(order)
    for metric in (band_iou, soft_iou, mass_in_reference, mass_over_chance, spectral_pointing):
        assert same(metric(curve, reference), metric(scale * curve[order], reference[order]))


@given(hnp.arrays(np.bool_, 12), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_iou_of_two_sets_of_one_size_is_symmetric_and_is_the_jaccard_index(first, random):
    order = list(range(12))
    random.shuffle(order)
    second = first[order]
    value = band_iou(first.astype(float), second)
    assert same(value, band_iou(second.astype(float), first))
    if first.any():
        expected = binary_jaccard_index(torch.from_numpy(first).int(), torch.from_numpy(second).int())
        assert value == pytest.approx(expected.item(), abs=1e-6)


@given(curves_and_references())
@settings(max_examples=40, deadline=None)
def test_a_curve_with_negative_values_scores_as_the_clipped_one(case):
    curve, reference = case
    for metric in (band_iou, soft_iou, mass_in_reference, spectral_pointing):
        assert same(metric(curve, reference), metric(np.maximum(curve, 0), reference))


@given(curves_and_references())
@settings(max_examples=40, deadline=None)
def test_bands_outside_all_groups_could_as_well_not_exist(case):
    curve, reference = case
    seen = ~np.isnan(curve)
    for metric in (band_iou, soft_iou, mass_in_reference, mass_over_chance, spectral_pointing):
        assert same(metric(curve, reference), metric(curve[seen], reference[seen]))


def test_a_perfect_curve_scores_one_and_its_complement_zero():
    reference = np.array([False, True, True, False, False])
    curve = reference.astype(float)
    assert band_iou(curve, reference) == soft_iou(curve, reference) == mass_in_reference(curve, reference) == 1
    assert spectral_pointing(curve, reference) == 1
    assert mass_over_chance(curve, reference) == pytest.approx(5 / 2)
    away = (~reference).astype(float)
    assert band_iou(away, reference) == soft_iou(away, reference) == mass_in_reference(away, reference) == 0
    assert spectral_pointing(away, reference) == 0


def test_ties_at_the_border_are_split_by_hand():
    # Two groups of three bands; the reference is the second band of the first group and one of the second.
    curve = np.array([2.0, 2.0, 2.0, 1.0, 1.0, 1.0])
    reference = np.array([False, True, False, True, False, False])
    np.testing.assert_allclose(top_bands(curve, 2), [2 / 3] * 3 + [0] * 3)
    assert band_iou(curve, reference) == pytest.approx((2 / 3) / (4 - 2 / 3))
    np.testing.assert_allclose(top_bands(curve, 4), [1] * 3 + [1 / 3] * 3)


def test_values_that_differ_in_the_last_bits_tie():
    curve = np.array([0.1 + 0.2, 0.3, 0.3, 0.0])
    np.testing.assert_allclose(top_bands(curve, 1), [1 / 3, 1 / 3, 1 / 3, 0])


def test_a_flat_curve_is_at_chance():
    curve, reference = np.ones(20), np.arange(20) < 5
    overlap = 5 * 5 / 20
    assert band_iou(curve, reference) == pytest.approx(overlap / (10 - overlap))
    assert band_iou(-curve, reference) == band_iou(curve, reference)
    assert mass_over_chance(curve, reference) == pytest.approx(1)
    assert spectral_pointing(curve, reference) == pytest.approx(0.25)


def test_a_reference_outside_the_seen_bands_is_not_applicable():
    curve = np.array([NAN, NAN, 1.0, 2.0])
    reference = np.array([True, True, False, False])
    for metric in (band_iou, soft_iou, mass_in_reference, mass_over_chance, spectral_pointing):
        assert np.isnan(metric(curve, reference))
        assert np.isnan(metric(np.full(4, NAN), reference))


def test_mass_of_a_curve_without_positive_importance_is_not_applicable():
    reference = np.array([True, False])
    assert np.isnan(mass_in_reference(np.array([-1.0, -2.0]), reference))
    assert np.isnan(mass_over_chance(np.array([0.0, 0.0]), reference))


def test_soft_iou_by_hand():
    curve, reference = np.array([3.0, 1.0, -5.0]), np.array([True, False, True])
    assert soft_iou(curve, reference) == pytest.approx(0.5 / (0.75 + 0.25 + 0.5))


@given(hnp.arrays(np.float64, 10, elements=st.floats(-5, 5)), hnp.arrays(np.bool_, 10))
@settings(max_examples=40, deadline=None)
def test_shares_of_null_units_and_of_the_others_sum_to_one(importance, null):
    importance[0] = 1.0
    share, rest = null_share(importance, null), null_share(importance, ~null)
    if null.any() and not null.all():
        assert 0 <= share <= 1
        assert share + rest == pytest.approx(1)
    else:
        assert np.isnan(rest if null.all() else share)


def test_null_share_counts_both_signs_and_leaves_missing_units_out():
    importance = np.array([3.0, -1.0, NAN, 0.5, -0.5])
    assert null_share(importance, np.array([False, True, True, True, False])) == pytest.approx(1.5 / 5)
    assert np.isnan(null_share(importance, np.array([False, False, True, False, False])))
    assert np.isnan(null_share(np.zeros(3), np.ones(3, bool)))


def test_effect_size_correlation_is_scipys_over_the_seen_bands():
    rng = np.random.default_rng(0)
    curve, effect = rng.normal(size=30).round(1), rng.random(30).round(1)
    curve[3], effect[7] = NAN, NAN
    both = ~np.isnan(curve + effect)
    expected = spearmanr(curve[both], effect[both]).statistic
    assert effect_size_correlation(curve, effect) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [band_iou, soft_iou, mass_in_reference, spectral_pointing, null_share])
def test_infinite_importance_is_refused(metric):
    with pytest.raises(SettingsError, match=r"finite importance or NaN .*found infinity at 1"):
        metric(np.array([0.0, np.inf]), np.array([True, False]))


def test_a_negative_number_of_bands_is_refused():
    with pytest.raises(SettingsError, match="at least 0, found -1"):
        top_bands(np.ones(3), -1)


def test_float32_curves_are_scored_as_float64_ones():
    rng = np.random.default_rng(1)
    curve, reference = rng.normal(size=40).astype(np.float32), rng.random(40) < 0.3
    assert band_iou(curve, reference) == band_iou(curve.astype(np.float64), reference)
