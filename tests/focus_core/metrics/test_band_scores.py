import numpy as np
import pytest

from focus_core.metrics import band_iou, band_iou_ceiling, band_scores, null_share

GROUPS = np.array([0, 0, 0, 1, 1, 1, -1, 2, 2, 2])
REFERENCE = np.zeros((3, 10), bool)
REFERENCE[0, 3:6] = True
REFERENCE[1, [0, 1, 6, 7]] = True


def curves():
    per_group = np.array([[0.1, 2.0, -1.0], [1.0, 0.0, 0.5], [1.0, 1.0, 1.0]])
    return np.where(GROUPS >= 0, per_group[:, GROUPS], np.nan)


def test_each_class_is_scored_by_its_own_row():
    scores = band_scores(curves(), REFERENCE, GROUPS)
    assert {row.shape for row in scores.values()} == {(3,)}
    assert scores["band_iou"][0] == scores["band_iou_of_ceiling"][0] == 1
    for cls in (0, 1):
        assert scores["band_iou"][cls] == band_iou(curves()[cls], REFERENCE[cls])
        assert scores["band_iou_ceiling"][cls] == band_iou_ceiling(REFERENCE[cls], GROUPS)
        assert scores["band_iou_chance"][cls] <= scores["band_iou_ceiling"][cls]


def test_a_class_without_reference_is_not_applicable_in_any_row():
    assert all(np.isnan(row[2]) for row in band_scores(curves(), REFERENCE, GROUPS).values())


def test_a_rival_with_values_outside_the_groups_is_measured_on_the_same_bands():
    rival = np.where(np.isnan(curves()), 100.0, curves())
    for name, row in band_scores(rival, REFERENCE, GROUPS).items():
        np.testing.assert_array_equal(row, band_scores(curves(), REFERENCE, GROUPS)[name])


def test_effect_size_and_null_bands_add_their_rows():
    null = GROUPS == 2
    effect = np.tile(np.where(GROUPS >= 0, [1, 2, 3][1] * (GROUPS == 1) + 0.5, np.nan), (3, 1))
    scores = band_scores(curves(), REFERENCE, GROUPS, effect_size=effect, null_band=null)
    assert scores["effect_size_correlation"][0] == pytest.approx(0.866, abs=1e-3)
    assert np.isnan(scores["effect_size_correlation"][2])  # a constant curve has no ranks
    assert scores["null_share"][0] == null_share(curves()[0], null) == pytest.approx(1 / 3.1)
