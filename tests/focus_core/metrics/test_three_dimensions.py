"""Properties of what is scored in three dimensions: masks ``(band, py, px)`` and references ``(cls, band)``."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from focus_core.metrics import (
    auc_3d,
    average_precision_3d,
    band_iou_ceiling,
    band_iou_chance,
    band_scores,
    over_tiles,
    spatial_auc,
    spatial_average_precision,
    spatial_pointing,
    spread_over_bands,
)

GROUPS, BANDS, SIDE, CLASSES = 3, 7, 3, 3
METRICS = [auc_3d, average_precision_3d]
VALUES = st.integers(-6, 6).map(float)
SALIENCY = hnp.arrays(np.float64, (GROUPS, SIDE, SIDE), elements=VALUES)
SHARES = hnp.arrays(np.float64, (BANDS, SIDE, SIDE), elements=st.integers(0, 4).map(lambda part: part / 4))
GROUP_OF_BAND = hnp.arrays(np.int64, BANDS, elements=st.integers(-1, GROUPS - 1))
CURVES = hnp.arrays(np.float64, (CLASSES, GROUPS), elements=VALUES)
REFERENCES = hnp.arrays(np.bool_, (CLASSES, BANDS))
FIELD = st.tuples(SALIENCY, SHARES, GROUP_OF_BAND)


def on_bands(curves, group_of_band):
    return np.where(group_of_band >= 0, curves[:, group_of_band], np.nan)


def assert_same(first, second):
    assert set(first) == set(second)
    for name, row in first.items():
        np.testing.assert_allclose(row, second[name], atol=1e-12, err_msg=name)


@given(FIELD)
@settings(max_examples=40, deadline=None)
def test_scores_lie_in_the_unit_interval_or_are_nan_without_contrast_in_the_groups(field):
    saliency, mask, group_of_band = field
    seen = mask[group_of_band >= 0]
    for metric in METRICS:
        value = metric(saliency, mask, group_of_band)
        if (seen > 0).any() and (seen < 1).any():
            assert 0 <= value <= 1 + 1e-12
        else:
            assert np.isnan(value)


@given(FIELD, st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_scores_ignore_the_scale_and_auc_complements_under_a_sign(field, scale):
    saliency, mask, group_of_band = field
    for metric in METRICS:
        value = metric(saliency, mask, group_of_band)
        # A power of two keeps ties as they are.
        assert metric(2.0 ** round(np.log2(scale)) * saliency, mask, group_of_band) == pytest.approx(value, nan_ok=True)
    flipped = auc_3d(-saliency, mask, group_of_band)
    assert flipped == pytest.approx(1 - auc_3d(saliency, mask, group_of_band), nan_ok=True)


@given(FIELD)
@settings(max_examples=40, deadline=None)
def test_where_each_band_is_a_group_scores_ignore_increasing_transforms(field):
    _, mask, _ = field
    voxels = mask[::-1] - 0.3 * mask.mean(axis=0)
    bands = np.arange(BANDS)
    for metric in METRICS:
        value = metric(voxels, mask, bands)
        assert metric(np.exp(3 * voxels) - 7, mask, bands) == pytest.approx(value, nan_ok=True)


@given(FIELD, st.permutations(range(BANDS)), st.permutations(range(GROUPS)), st.permutations(range(SIDE)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_bands_groups_and_places_does_not_matter(field, bands, groups, places):
    saliency, mask, group_of_band = field
    renamed = np.append(np.argsort(groups), -1)[group_of_band]
    for metric in METRICS:
        value = metric(saliency, mask, group_of_band)
        assert metric(saliency, mask[bands], group_of_band[bands]) == pytest.approx(value, nan_ok=True)
        assert metric(saliency[groups], mask, renamed) == pytest.approx(value, nan_ok=True)
        assert metric(saliency[:, places], mask[:, places], group_of_band) == pytest.approx(value, nan_ok=True)


@given(FIELD, hnp.arrays(np.bool_, (SIDE, SIDE)))
@settings(max_examples=40, deadline=None)
def test_places_outside_the_plot_could_as_well_not_exist(field, outside):
    saliency, mask, group_of_band = field
    gone, unknown = np.where(outside, np.nan, saliency), np.where(outside, np.nan, mask)
    kept = saliency[:, ~outside][:, None], mask[:, ~outside][:, None]
    for metric in METRICS:
        expected = metric(*kept, group_of_band)
        assert metric(gone, mask, group_of_band) == pytest.approx(expected, nan_ok=True)
        assert metric(saliency, unknown, group_of_band) == pytest.approx(expected, nan_ok=True)


@given(FIELD)
@settings(max_examples=40, deadline=None)
def test_a_mask_that_is_flat_over_the_bands_of_equal_groups_is_the_spatial_case(field):
    saliency, mask, _ = field
    one_band_each = np.arange(GROUPS)
    flat = np.repeat(mask[:1], GROUPS, axis=0)
    assert auc_3d(saliency, flat, one_band_each) == pytest.approx(spatial_auc(saliency, flat), nan_ok=True)
    alone = saliency[:1], mask[:1], np.zeros(1, dtype=np.int64)
    assert auc_3d(*alone) == pytest.approx(spatial_auc(saliency[0], mask[0]), nan_ok=True)


@given(FIELD)
@settings(max_examples=40, deadline=None)
def test_spreading_keeps_the_sum_of_every_group_that_has_a_band(field):
    saliency, _, group_of_band = field
    voxels = spread_over_bands(saliency, group_of_band)
    assert (np.isnan(voxels).all(axis=(1, 2)) == (group_of_band < 0)).all()
    for group in range(GROUPS):
        own = voxels[group_of_band == group]
        if len(own):
            np.testing.assert_allclose(own.sum(axis=0), saliency[group], atol=1e-12)
            assert np.ptp(own, axis=0).max() == 0


@given(
    hnp.arrays(np.float64, (4, SIDE, SIDE), elements=VALUES),
    hnp.arrays(np.bool_, (4, SIDE, SIDE)),
    st.permutations(range(4)),
)
@settings(max_examples=40, deadline=None)
def test_tiles_are_scored_alone_whatever_their_order(saliency, mask, order):
    for metric in (spatial_auc, spatial_average_precision, spatial_pointing):
        found, again = over_tiles(metric, saliency, mask), over_tiles(metric, saliency[order], mask[order])
        np.testing.assert_array_equal(found.values[order], again.values)
        assert found.defined == again.defined == (~np.isnan(found.values)).sum()
        assert found.mean == pytest.approx(again.mean, nan_ok=True)
        assert found.values[0] == pytest.approx(metric(saliency[0], mask[0]), nan_ok=True)


@given(CURVES, REFERENCES, GROUP_OF_BAND, st.permutations(range(CLASSES)), st.permutations(range(BANDS)))
@settings(max_examples=25, deadline=None)
def test_each_class_keeps_its_scores_whatever_the_order_of_classes_and_bands(
    curves, references, groups, classes, bands
):
    scores = band_scores(on_bands(curves, groups), references, groups)
    reordered = band_scores(on_bands(curves, groups)[classes], references[classes], groups)
    assert_same({name: row[classes] for name, row in scores.items()}, reordered)
    assert_same(scores, band_scores(on_bands(curves, groups)[:, bands], references[:, bands], groups[bands]))


@given(CURVES, REFERENCES, GROUP_OF_BAND, hnp.arrays(np.float64, (CLASSES, 1), elements=st.floats(1e-3, 1e3)))
@settings(max_examples=25, deadline=None)
def test_a_positive_factor_for_each_class_changes_no_score(curves, references, groups, factor):
    curve = on_bands(curves, groups)
    assert_same(band_scores(curve, references, groups), band_scores(factor * curve, references, groups))


@given(CURVES, REFERENCES, GROUP_OF_BAND)
@settings(max_examples=25, deadline=None)
def test_scores_of_classes_are_bounded_or_not_applicable(curves, references, groups):
    scores = band_scores(on_bands(curves, groups), references, groups)
    seen = references[:, groups >= 0].any(axis=1)
    for name in ("band_iou", "band_iou_ceiling", "band_iou_chance", "band_iou_of_ceiling", "spectral_pointing"):
        assert (np.isnan(scores[name]) == ~seen).all()
        assert ((scores[name][seen] >= 0) & (scores[name][seen] <= 1 + 1e-12)).all()
    for name in ("soft_iou", "mass_in_reference"):
        known = ~np.isnan(scores[name])
        assert not known[~seen].any()
        assert ((scores[name][known] >= 0) & (scores[name][known] <= 1 + 1e-12)).all()


@given(REFERENCES, GROUP_OF_BAND, st.integers(0, BANDS - 1))
@settings(max_examples=40, deadline=None)
def test_a_finer_group_never_lowers_the_ceiling(references, groups, split):
    finer = np.where((groups >= 0) & (np.arange(BANDS) <= split), groups + GROUPS, groups)
    for reference in references:
        assume(reference[groups >= 0].any())
        assert band_iou_ceiling(reference, finer) >= band_iou_ceiling(reference, groups) - 1e-12


@given(REFERENCES, GROUP_OF_BAND, st.permutations(range(BANDS)))
@settings(max_examples=25, deadline=None)
def test_chance_depends_on_how_many_bands_of_a_group_are_wanted_not_on_which(references, groups, order):
    for reference in references:
        value = band_iou_chance(reference, groups, draws=200)
        assert band_iou_chance(reference[order], groups[order], draws=200) == pytest.approx(value, nan_ok=True)
