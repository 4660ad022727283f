from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import auc

from focus_core.errors import SettingsError
from focus_core.metrics import deletion_path, insertion_path, path_auc

IMPORTANCE = hnp.arrays(np.float64, st.integers(1, 5), elements=st.integers(-9, 9).map(float))


@given(IMPORTANCE)
@settings(max_examples=40, deadline=None)
def test_paths_go_one_group_at_a_time_by_falling_importance(importance):
    kept = deletion_path(importance)
    assert kept[0].all()
    assert not kept[-1].any()
    gone = [int(np.flatnonzero(step)[0]) for step in kept[:-1] & ~kept[1:]]
    assert sorted(gone) == list(range(importance.size))
    assert (np.diff(importance[gone]) <= 0).all()
    np.testing.assert_array_equal(insertion_path(importance), ~kept)


@given(IMPORTANCE)
@settings(max_examples=40, deadline=None)
def test_the_true_order_of_an_additive_score_is_the_best_of_all(evidence):
    def aucs(importance):
        paths = deletion_path(importance), insertion_path(importance)
        return [path_auc(path @ evidence, path) for path in paths]

    deletion, insertion = aucs(evidence)
    for order in permutations(range(evidence.size)):
        other_deletion, other_insertion = aucs(np.array(order, float))
        assert deletion <= other_deletion + 1e-9
        assert insertion >= other_insertion - 1e-9
    assert deletion + insertion == pytest.approx(evidence.sum())


@given(IMPORTANCE, st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_a_constant_score_is_its_own_area_whatever_the_widths(importance, score):
    path = deletion_path(importance)
    width = np.arange(1.0, importance.size + 1)
    assert path_auc(np.full(path.shape[0], score), path, width=width) == pytest.approx(score)


def test_the_area_is_scikit_learns_over_the_share_of_the_width():
    importance, width = np.array([1.0, 3.0, 2.0]), np.array([20.0, 50.0, 30.0])
    scores = np.array([0.9, 0.5, 0.4, 0.1])
    expected = auc([0, 0.5, 0.8, 1.0], scores)
    assert path_auc(scores, deletion_path(importance), width=width) == pytest.approx(expected)
    assert path_auc(scores, deletion_path(importance)) == pytest.approx(auc(np.arange(4) / 3, scores))


def test_a_missing_score_or_no_group_is_not_applicable():
    assert np.isnan(path_auc(np.array([0.9, np.nan]), deletion_path(np.ones(1))))
    assert np.isnan(path_auc(np.array([0.9]), deletion_path(np.empty(0))))


def test_impossible_input_is_refused():
    with pytest.raises(SettingsError, match="finite importance of every group"):
        deletion_path(np.array([1.0, np.nan]))
    with pytest.raises(SettingsError, match=r"positive widths of the groups, found 0\.0"):
        path_auc(np.ones(3), deletion_path(np.ones(2)), width=np.array([0.0, 1.0]))
    mixed = np.array([[True, False], [False, False], [False, True]])
    with pytest.raises(SettingsError, match="deletes, or inserts, every group once"):
        path_auc(np.ones(3), mixed)
