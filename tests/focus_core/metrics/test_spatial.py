import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from focus_core.errors import SettingsError
from focus_core.metrics import (
    auc_3d,
    average_precision_3d,
    over_tiles,
    spatial_auc,
    spatial_average_precision,
    spatial_pointing,
    spread_over_bands,
)

METRICS = [spatial_auc, spatial_average_precision, spatial_pointing]
SALIENCY = hnp.arrays(np.float64, (4, 4), elements=st.integers(-6, 6).map(float))
MASK = hnp.arrays(np.bool_, (4, 4))
SHARE = hnp.arrays(np.float64, (4, 4), elements=st.integers(0, 4).map(lambda part: part / 4))


@given(SALIENCY, SHARE)
@settings(max_examples=40, deadline=None)
def test_metrics_lie_in_the_unit_interval_or_are_nan_without_contrast(saliency, share):
    for metric in METRICS:
        value = metric(saliency, share)
        if (share > 0).any() and (share < 1).any():
            assert 0 <= value <= 1 + 1e-12
        else:
            assert np.isnan(value)


@given(SALIENCY, SHARE)
@settings(max_examples=40, deadline=None)
def test_metrics_ignore_increasing_transforms_and_auc_complements_under_a_sign(saliency, share):
    for metric in METRICS:
        value = metric(saliency, share)
        assert metric(np.exp(saliency / 3) - 5, share) == pytest.approx(value, nan_ok=True)
    flipped = spatial_auc(-saliency, share)
    assert flipped == pytest.approx(1 - spatial_auc(saliency, share), nan_ok=True)


@given(SALIENCY, SHARE)
@settings(max_examples=40, deadline=None)
def test_shares_count_as_the_pixels_that_they_stand_for(saliency, share):
    pixels = np.repeat(saliency.ravel(), 4)
    inside = (np.arange(4) < 4 * share.reshape(-1, 1)).ravel()
    if inside.any() and not inside.all():
        assert spatial_auc(saliency, share) == pytest.approx(roc_auc_score(inside, pixels))
        assert spatial_average_precision(saliency, share) == pytest.approx(average_precision_score(inside, pixels))


@given(SALIENCY, MASK)
@settings(max_examples=40, deadline=None)
def test_bool_masks_agree_with_torchmetrics(saliency, mask):
    if not mask.any() or mask.all():
        return
    values, labels = torch.sigmoid(torch.from_numpy(saliency)).ravel(), torch.from_numpy(mask).ravel().int()
    assert spatial_auc(saliency, mask) == pytest.approx(binary_auroc(values, labels).item(), abs=1e-6)
    expected = binary_average_precision(values, labels).item()
    assert spatial_average_precision(saliency, mask) == pytest.approx(expected, abs=1e-6)


@given(SALIENCY, SHARE, MASK)
@settings(max_examples=40, deadline=None)
def test_patches_outside_the_plot_could_as_well_not_exist(saliency, share, outside):
    gone = np.where(outside, np.nan, saliency)
    for metric in METRICS:
        expected = metric(saliency[~outside], share[~outside])
        assert metric(gone, share) == pytest.approx(expected, nan_ok=True)
        assert metric(saliency, np.where(outside, np.nan, share)) == pytest.approx(expected, nan_ok=True)


@given(SALIENCY, SHARE)
@settings(max_examples=40, deadline=None)
def test_no_map_beats_the_ceiling_of_the_grid(saliency, share):
    if (share > 0).any() and (share < 1).any():
        assert spatial_auc(saliency, share) <= spatial_auc(share, share) + 1e-12


def test_pointing_by_hand():
    share = np.array([[0.0, 0.5], [1.0, 0.0]])
    assert spatial_pointing(np.array([[0.0, 1.0], [9.0, 2.0]]), share) == 1
    assert spatial_pointing(np.array([[0.0, 9.0], [9.0, 2.0]]), share) == 0.75
    assert spatial_pointing(np.full((2, 2), 3.0), share) == pytest.approx(share.mean())


def test_tiles_without_contrast_are_counted_out():
    saliency = np.arange(12.0).reshape(3, 2, 2)
    mask = np.zeros((3, 2, 2), bool)
    mask[0, 1, 1] = True
    mask[2] = True
    scores = over_tiles(spatial_auc, saliency, mask)
    np.testing.assert_array_equal(scores.values, [1.0, np.nan, np.nan])
    assert (scores.mean, scores.defined) == (1.0, 1)
    nothing = over_tiles(spatial_auc, saliency[1:], mask[1:])
    assert np.isnan(nothing.mean)
    assert nothing.defined == 0
    assert spatial_auc(saliency, mask) < 1  # pooled: tiles are compared with each other


def test_saliency_is_spread_over_bands_with_its_sum():
    saliency = np.random.default_rng(0).normal(size=(3, 2, 2))
    group_of_band = np.array([0, 0, -1, 2, 2, 2, 1])
    voxels = spread_over_bands(saliency, group_of_band)
    assert np.isnan(voxels[2]).all()
    np.testing.assert_allclose(np.nansum(voxels, axis=0), saliency.sum(axis=0))
    np.testing.assert_allclose(voxels[3], saliency[2] / 3)


def test_a_planted_block_is_found_in_three_dimensions():
    group_of_band = np.array([-1, 0, 0, 1, 1, 1])
    mask = np.zeros((6, 3, 3), bool)
    mask[3:, :2, :2] = True
    found = np.zeros((2, 3, 3))
    found[1, :2, :2] = 1.0
    assert auc_3d(found, mask, group_of_band) == average_precision_3d(found, mask, group_of_band) == 1
    assert auc_3d(found[::-1], mask, group_of_band) < 0.5
    mask[0] = True  # a band outside all groups does not count
    assert auc_3d(found, mask, group_of_band) == 1
    assert np.isnan(auc_3d(found, np.zeros((6, 3, 3)), group_of_band))


def test_a_value_at_each_band_takes_each_band_as_a_group():
    rng = np.random.default_rng(2)
    voxels, mask = rng.normal(size=(5, 3, 3)), rng.random((5, 3, 3)) < 0.4
    assert auc_3d(voxels, mask, np.arange(5)) == pytest.approx(roc_auc_score(mask.ravel(), voxels.ravel()))


@pytest.mark.parametrize("metric", METRICS)
def test_impossible_input_is_refused(metric):
    with pytest.raises(SettingsError, match=r"shares in \[0, 1\], found 0.0 to 4.0"):
        metric(np.zeros(2), np.array([0.0, 4.0]))
    with pytest.raises(SettingsError, match="finite saliency or NaN"):
        metric(np.array([0.0, np.inf]), np.array([0.0, 1.0]))


def test_a_band_of_an_unknown_group_is_refused():
    with pytest.raises(SettingsError, match="groups 0 to 1, as the saliency has, found 2"):
        spread_over_bands(np.zeros((2, 1, 1)), np.array([0, 1, 2]))
