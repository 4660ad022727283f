"""Each figure beside a library's that defines the same quantity; where definitions differ, the test says how.

captum's infidelity and sensitivity, and grad-cam's ROAD, are other quantities: they call a model, ours are of arrays.
"""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import braycurtis
from sklearn.metrics import brier_score_loss, roc_auc_score
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_recall,
    multilabel_auroc,
    multilabel_average_precision,
    multilabel_jaccard_index,
)
from torchmetrics.functional.regression import (
    concordance_corrcoef,
    pearson_corrcoef,
    spearman_corrcoef,
)
from torchmetrics.utilities.compute import auc

from focus_core.metrics import (
    auc_3d,
    average_precision_3d,
    balanced_accuracy,
    band_scores,
    brier_score,
    concordance,
    deletion_path,
    effect_size_correlation,
    expected_calibration_error,
    map_stability,
    over_tiles,
    path_auc,
    rank_agreement,
    soft_iou,
    spatial_auc,
    spatial_average_precision,
    value_agreement,
)

CLASSES, BANDS, SIDE = 3, 12, 4
VALUES = st.integers(-9, 9).map(float)  # small integers tie often
LABELS = hnp.arrays(np.int64, 24, elements=st.integers(0, CLASSES - 1))
PAIRS = st.tuples(hnp.arrays(np.float64, 10, elements=VALUES), hnp.arrays(np.float64, 10, elements=VALUES))
CURVES = hnp.arrays(np.float64, (CLASSES, BANDS), elements=VALUES)
REFERENCES = hnp.arrays(np.bool_, (CLASSES, BANDS))
VOXELS = hnp.arrays(np.float64, (BANDS, SIDE, SIDE), elements=VALUES)
MASKS = hnp.arrays(np.bool_, (BANDS, SIDE, SIDE))


def tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values))


def ranked(values):
    """The same order in [0, 1], which torchmetrics takes for probabilities."""
    return torch.sigmoid(tensor(values) / 4)


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_correlations_are_torchmetrics(pair):
    first, second = pair
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    for own, theirs in ((rank_agreement, spearman_corrcoef), (value_agreement, pearson_corrcoef)):
        assert own(first, second) == pytest.approx(theirs(tensor(first), tensor(second)).item(), abs=1e-6)
    expected = spearman_corrcoef(tensor(first), tensor(second)).item()
    assert effect_size_correlation(first, second) == pytest.approx(expected, abs=1e-6)


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_concordance_differs_from_torchmetrics_by_the_n_of_the_variances_alone(pair):
    first, second = pair
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    count = first.size  # torchmetrics divides by n - 1, Lin (1989) by n
    gap = (first.mean() - second.mean()) ** 2
    spread = first.var() + second.var()
    corrected = concordance(first, second) * (spread + gap) / (spread + gap * (count - 1) / count)
    assert corrected == pytest.approx(concordance_corrcoef(tensor(first), tensor(second)).item(), abs=1e-6)


@given(
    hnp.arrays(np.float64, (3, SIDE, SIDE), elements=VALUES), hnp.arrays(np.float64, (3, SIDE, SIDE), elements=VALUES)
)
@settings(max_examples=25, deadline=None)
def test_map_stability_is_torchmetrics_spearman_over_the_outputs(maps, repeat):
    found = map_stability(maps, repeat)
    for tile in range(3):
        if np.ptp(maps[tile]) > 0 and np.ptp(repeat[tile]) > 0:
            expected = spearman_corrcoef(tensor(maps[tile].ravel()), tensor(repeat[tile].ravel())).item()
            assert found[tile] == pytest.approx(expected, abs=1e-6)
        else:
            assert np.isnan(found[tile])


@given(LABELS, LABELS)
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_is_torchmetrics_macro_recall(truth, predicted):
    truth[:CLASSES] = range(CLASSES)  # torchmetrics counts a class that is predicted and never true as a miss
    value = balanced_accuracy(truth, predicted)
    for theirs in (multiclass_recall, multiclass_accuracy):
        expected = theirs(tensor(predicted), tensor(truth), CLASSES, average="macro").item()
        assert value == pytest.approx(expected, abs=1e-6)


@given(LABELS, st.integers(0, 2**32 - 1), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_calibration_error_is_torchmetrics_off_the_edges_of_the_bins(truth, seed, bins):
    probability = np.random.default_rng(seed).dirichlet(np.ones(CLASSES), size=truth.size)
    scaled = probability.max(axis=1) * bins
    assume(np.abs(scaled - scaled.round()).min() > 1e-4)  # bins are closed above here, below in torchmetrics
    expected = multiclass_calibration_error(tensor(probability), tensor(truth), CLASSES, n_bins=bins, norm="l1")
    assert expected_calibration_error(probability, truth, bins=bins) == pytest.approx(expected.item(), abs=1e-5)


@given(LABELS, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_brier_score_of_two_classes_is_twice_scikit_learns_of_one(truth, seed):
    positive, label = np.random.default_rng(seed).random(truth.size), truth % 2
    assume(0 < label.mean() < 1)
    found = brier_score(np.stack([1 - positive, positive], axis=1), label)
    assert found == pytest.approx(2 * brier_score_loss(label, positive))


@given(CURVES, REFERENCES)
@settings(max_examples=40, deadline=None)
def test_soft_iou_is_scipys_bray_curtis_distance_in_other_words(curves, references):
    for curve, reference in zip(curves, references, strict=True):
        if (curve > 0).any() and reference.any():
            clipped, wanted = np.maximum(curve, 0), reference.astype(float)
            distance = braycurtis(clipped / clipped.sum(), wanted / wanted.sum())
            assert soft_iou(curve, reference) == pytest.approx((1 - distance) / (1 + distance))


@given(REFERENCES, st.permutations(range(BANDS)), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_band_iou_of_classes_is_torchmetrics_multilabel_jaccard_index(references, groups, seed):
    assume(references.any(axis=1).all())
    curves = np.random.default_rng(seed).permuted(np.tile(np.arange(1.0, BANDS + 1), (CLASSES, 1)), axis=1)
    found = band_scores(curves, references, np.array(groups))["band_iou"]  # each band is a group
    sizes = references.sum(axis=1, keepdims=True)
    chosen = curves > BANDS - sizes
    expected = multilabel_jaccard_index(
        tensor(chosen.T.astype(int)), tensor(references.T.astype(int)), num_labels=CLASSES, average=None
    )
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


@given(VOXELS, MASKS)
@settings(max_examples=40, deadline=None)
def test_three_dimensional_scores_are_torchmetrics_over_the_voxels(voxels, mask):
    bands = np.arange(BANDS)
    if not mask.any() or mask.all():
        assert np.isnan(auc_3d(voxels, mask, bands))
        assert np.isnan(average_precision_3d(voxels, mask, bands))
        return
    scores, labels = ranked(voxels).ravel(), tensor(mask).ravel().int()
    assert auc_3d(voxels, mask, bands) == pytest.approx(binary_auroc(scores, labels).item(), abs=1e-6)
    expected = binary_average_precision(scores, labels).item()
    assert average_precision_3d(voxels, mask, bands) == pytest.approx(expected, abs=1e-6)


@given(hnp.arrays(np.float64, (3, SIDE, SIDE), elements=VALUES), hnp.arrays(np.bool_, (5, SIDE, SIDE)), st.data())
@settings(max_examples=40, deadline=None)
def test_a_group_stands_for_each_of_its_bands_as_scikit_learn_would_count_them(saliency, mask, data):
    group_of_band = data.draw(hnp.arrays(np.int64, 5, elements=st.integers(-1, 2)))
    inside = group_of_band >= 0
    labels = mask[inside].ravel()
    assume(labels.any() and not labels.all())
    shares = saliency / np.maximum(np.bincount(group_of_band[inside], minlength=3), 1)[:, None, None]
    expected = roc_auc_score(labels, shares[group_of_band[inside]].ravel())
    assert auc_3d(saliency, mask, group_of_band) == pytest.approx(expected)


@given(hnp.arrays(np.float64, (CLASSES, SIDE, SIDE), elements=VALUES), hnp.arrays(np.bool_, (CLASSES, SIDE, SIDE)))
@settings(max_examples=25, deadline=None)
def test_tile_scores_are_torchmetrics_with_a_label_for_each_tile(saliency, mask):
    share = mask.mean(axis=(1, 2))
    assume((share > 0).all() and (share < 1).all())
    scores, labels = ranked(saliency).flatten(1).T, tensor(mask).flatten(1).T.int()
    for metric, theirs in ((spatial_auc, multilabel_auroc), (spatial_average_precision, multilabel_average_precision)):
        found = over_tiles(metric, saliency, mask)
        expected = theirs(scores, labels, num_labels=CLASSES, average=None).numpy()
        np.testing.assert_allclose(found.values, expected, atol=1e-6)
        assert found.mean == pytest.approx(expected.mean(), abs=1e-6)
        assert found.defined == CLASSES


@given(
    st.permutations(range(6)),
    hnp.arrays(np.float64, 7, elements=VALUES),
    hnp.arrays(np.float64, 6, elements=st.integers(1, 50).map(float)),
)
@settings(max_examples=40, deadline=None)
def test_the_area_along_a_path_is_torchmetrics_trapezoid_over_the_widths(order, scores, width):
    importance = -np.array(order, dtype=float)
    share = np.concatenate([[0.0], width[np.argsort(order)].cumsum() / width.sum()])
    found = path_auc(scores, deletion_path(importance), width=width)
    assert found == pytest.approx(auc(tensor(share), tensor(scores)).item())
