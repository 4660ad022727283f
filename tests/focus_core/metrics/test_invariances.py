"""Properties of the remaining figures: what must not matter to them, and where they are not applicable."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax

from focus_core.metrics import (
    balanced_accuracy,
    band_iou,
    brier_score,
    collapse_reduction,
    concordance,
    confusion,
    effect_size_correlation,
    expected_calibration_error,
    has_collapse,
    map_stability,
    null_share,
    sink_rate,
    top_bands,
    uniform_share,
    value_agreement,
)

CLASSES, PLOTS, BANDS, KEYS = 3, 15, 12, 6
VALUES = st.integers(-9, 9).map(float)
LABELS = hnp.arrays(np.int64, PLOTS, elements=st.integers(0, CLASSES - 1))
PROBABILITIES = hnp.arrays(np.float64, (PLOTS, CLASSES), elements=st.integers(-8, 8).map(lambda value: value / 2)).map(
    lambda logits: softmax(logits, axis=1)
)
CURVES = hnp.arrays(np.float64, BANDS, elements=VALUES)
HEADS = hnp.arrays(np.float64, (2, 3, 4, KEYS), elements=st.floats(-6, 6)).map(lambda logits: softmax(logits, axis=-1))


@given(CURVES, CURVES, st.floats(0.125, 8), st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_agreement_of_values_ignores_offset_and_factor_of_one_side_concordance_of_both_alike(
    first, second, scale, shift
):
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    moved = scale * first + shift
    assert value_agreement(moved, second) == pytest.approx(value_agreement(first, second))
    assert value_agreement(-first, second) == pytest.approx(-value_agreement(first, second))
    assert concordance(moved, scale * second + shift) == pytest.approx(concordance(first, second))
    assert concordance(first, second) == pytest.approx(concordance(second, first))


@given(
    hnp.arrays(np.float64, (3, BANDS), elements=VALUES),
    hnp.arrays(np.float64, (3, BANDS), elements=VALUES),
    st.permutations(range(3)),
    hnp.arrays(np.bool_, (3, BANDS)),
)
@settings(max_examples=40, deadline=None)
def test_stability_is_of_each_tile_alone_its_order_of_values_and_its_known_patches(maps, repeat, order, unknown):
    found = map_stability(maps, repeat)
    np.testing.assert_array_equal(map_stability(maps[order], repeat[order]), found[order])
    np.testing.assert_allclose(map_stability(np.exp(maps / 4), 3 * repeat - 1), found)
    holed = np.where(unknown, np.nan, maps)
    for tile in range(3):
        kept = ~unknown[tile][None]
        alone = map_stability(maps[tile][kept[0]][None], repeat[tile][kept[0]][None])
        np.testing.assert_array_equal(map_stability(holed, repeat)[tile], alone[0])


@given(CURVES, hnp.arrays(np.float64, BANDS, elements=st.integers(0, 9).map(float)), st.permutations(range(BANDS)))
@settings(max_examples=40, deadline=None)
def test_correlation_with_the_effect_size_knows_ranks_and_no_order_of_the_bands(curve, effect, order):
    value = effect_size_correlation(curve, effect)
    assert effect_size_correlation(np.exp(curve / 4), effect**3) == pytest.approx(value, nan_ok=True)
    assert effect_size_correlation(curve[order], effect[order]) == pytest.approx(value, nan_ok=True)
    assert np.isnan(value) or -1 - 1e-12 <= value <= 1 + 1e-12


@given(CURVES, hnp.arrays(np.bool_, BANDS), st.integers(0, BANDS))
@settings(max_examples=40, deadline=None)
def test_top_bands_and_their_iou_know_the_order_of_positive_values_alone(curve, reference, count):
    transformed = np.where(curve > 0, curve**3 + 5, curve)
    np.testing.assert_allclose(top_bands(transformed, count), top_bands(curve, count))
    assert band_iou(transformed, reference) == pytest.approx(band_iou(curve, reference), nan_ok=True)


@given(CURVES, hnp.arrays(np.bool_, BANDS), st.permutations(range(BANDS)))
@settings(max_examples=40, deadline=None)
def test_the_null_share_ignores_signs_scale_and_order(importance, null, order):
    value = null_share(importance, null)
    assert null_share(-4 * importance[order], null[order]) == pytest.approx(value, nan_ok=True)


@given(LABELS, LABELS, st.permutations(range(PLOTS)), st.permutations(range(CLASSES)))
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_and_confusion_ignore_the_order_of_plots_and_the_names_of_classes(
    truth, predicted, plots, names
):
    value, counts = balanced_accuracy(truth, predicted), confusion(truth, predicted, classes=CLASSES)
    rename = np.array(names)
    assert balanced_accuracy(rename[truth[plots]], rename[predicted[plots]]) == pytest.approx(value)
    again = confusion(rename[truth[plots]], rename[predicted[plots]], classes=CLASSES)
    np.testing.assert_array_equal(again[np.ix_(rename, rename)], counts)
    seen = counts.sum(axis=1) > 0
    assert value == pytest.approx((np.diag(counts)[seen] / counts.sum(axis=1)[seen]).mean())
    assert counts.sum() == PLOTS


@given(LABELS, LABELS, st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_does_not_know_how_many_plots_a_class_has(truth, predicted, times):
    repeats = np.where(truth == truth[0], times, 1)
    value = balanced_accuracy(truth.repeat(repeats), predicted.repeat(repeats))
    assert value == pytest.approx(balanced_accuracy(truth, predicted))


@given(PROBABILITIES, LABELS, st.permutations(range(PLOTS)), st.permutations(range(CLASSES)))
@settings(max_examples=40, deadline=None)
def test_calibration_ignores_the_order_of_plots_and_brier_the_names_of_classes_too(probability, truth, plots, names):
    order = np.array(names)
    for metric in (brier_score, expected_calibration_error):
        assert metric(probability[plots], truth[plots]) == pytest.approx(metric(probability, truth))
        assert metric(probability.repeat(2, axis=0), truth.repeat(2)) == pytest.approx(metric(probability, truth))
    assert brier_score(probability[:, order], np.argsort(order)[truth]) == pytest.approx(
        brier_score(probability, truth)
    )


@given(PROBABILITIES, st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_no_probabilities_have_a_lower_expected_brier_score_than_the_true_ones(other, row):
    true = other[row]

    def expected(guess):
        return sum(share * brier_score(guess[None], np.array([index])) for index, share in enumerate(true))

    assert all(expected(true) <= expected(guess) + 1e-12 for guess in other)


@given(HEADS, st.floats(0, 1), st.permutations(range(KEYS)))
@settings(max_examples=40, deadline=None)
def test_the_rate_of_sinks_falls_with_the_threshold_and_ignores_the_order_of_keys_and_heads(
    attention, threshold, order
):
    value = sink_rate(attention, threshold=threshold)
    assert 0 <= value <= 1
    assert sink_rate(attention[::-1, ::-1][..., order], threshold=threshold) == value
    assert sink_rate(attention, threshold=threshold / 2) >= value >= sink_rate(attention, threshold=2 * threshold)


@given(hnp.arrays(np.bool_, (4, KEYS)), st.integers(0, KEYS - 1))
@settings(max_examples=40, deadline=None)
def test_uniform_shares_of_a_kind_and_of_the_rest_are_one(keys, position):
    sink = np.arange(KEYS) == position
    np.testing.assert_allclose(uniform_share(keys, sink=sink) + uniform_share(~keys, sink=sink), 1)
    np.testing.assert_array_equal(uniform_share(keys, sink=sink), uniform_share(keys ^ sink, sink=sink))


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0.5, 2))
@settings(max_examples=40, deadline=None)
def test_the_reduction_is_relative_and_a_collapse_is_monotone(baseline, treated, scale):
    reduction = collapse_reduction(baseline, treated)
    assert reduction <= 1
    assert (reduction > 0) == (treated < baseline)
    assert baseline * (1 - reduction) == pytest.approx(treated)
    assert collapse_reduction(scale * baseline, scale * treated) == pytest.approx(reduction, abs=1e-9)
    assert not (has_collapse(treated, baseline) and treated <= baseline)
