import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from focus_core.errors import SettingsError
from focus_core.metrics import (
    balanced_accuracy,
    balanced_accuracy_interval,
    brier_score,
    confusion,
    expected_calibration_error,
)

CLASSES = 3
LABELS = hnp.arrays(np.int64, 20, elements=st.integers(0, CLASSES - 1))
PROBABILITIES = hnp.arrays(np.float64, (20, CLASSES), elements=st.floats(-4, 4)).map(
    lambda logits: softmax(logits, axis=1)
)


@given(LABELS, LABELS)
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_is_scikit_learns(truth, predicted):
    truth[:2] = 0, 1  # it warns about a single class, and about classes that are predicted but never true
    predicted = np.where(np.isin(predicted, truth), predicted, truth[0])
    assert balanced_accuracy(truth, predicted) == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert balanced_accuracy(truth, truth) == 1


def test_a_class_that_is_predicted_but_never_true_counts_as_an_error_only():
    assert balanced_accuracy(np.array([0, 0, 1]), np.array([0, 2, 1])) == pytest.approx(0.75)


@given(LABELS, LABELS)
@settings(max_examples=40, deadline=None)
def test_confusion_is_torchmetrics_with_truth_by_row(truth, predicted):
    expected = multiclass_confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(truth), CLASSES)
    np.testing.assert_array_equal(confusion(truth, predicted, classes=CLASSES), expected.numpy())


@given(PROBABILITIES, LABELS)
@settings(max_examples=40, deadline=None)
def test_brier_score_is_scikit_learns_unhalved(probability, truth):
    expected = brier_score_loss(truth, probability, labels=range(CLASSES), scale_by_half=False)
    assert brier_score(probability, truth) == pytest.approx(expected)
    assert 0 <= brier_score(probability, truth) <= 2


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_torchmetrics(bins):
    rng = np.random.default_rng(bins)
    probability, truth = rng.dirichlet(np.ones(CLASSES), size=200), rng.integers(0, CLASSES, 200)
    expected = multiclass_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth), CLASSES, n_bins=bins, norm="l1"
    )
    value = expected_calibration_error(probability, truth, bins=bins)
    assert value == pytest.approx(expected.item(), abs=1e-6)


@given(PROBABILITIES, LABELS)
@settings(max_examples=40, deadline=None)
def test_calibration_error_is_at_least_the_gap_of_the_means_and_at_most_one(probability, truth):
    gap = probability.max(axis=1).mean() - (probability.argmax(axis=1) == truth).mean()
    value = expected_calibration_error(probability, truth)
    assert abs(gap) - 1e-12 <= value <= 1
    assert expected_calibration_error(probability, truth, bins=1) == pytest.approx(abs(gap))


def test_perfectly_calibrated_probabilities_have_no_calibration_error():
    certain, truth = np.eye(CLASSES)[[0, 1, 2, 1]], np.array([0, 1, 2, 1])
    assert expected_calibration_error(certain, truth) == brier_score(certain, truth) == 0
    three_in_four = np.tile([0.75, 0.25], (4, 1))
    assert expected_calibration_error(three_in_four, np.array([0, 0, 0, 1])) == pytest.approx(0)
    wrong = np.eye(CLASSES)[[1, 2, 0, 0]]
    assert expected_calibration_error(wrong, truth) == 1
    assert brier_score(wrong, truth) == 2


def test_unlabelled_and_missing_plots_are_left_out_and_none_is_not_applicable():
    truth = np.array([0, 1, -1, 1])
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [np.nan, np.nan]])
    for metric in (brier_score, expected_calibration_error):
        assert metric(probability, truth) == metric(probability[:2], truth[:2])
        assert np.isnan(metric(probability[2:], truth[2:]))
    predicted = np.array([0, 0, 0, 1])
    assert balanced_accuracy(truth, predicted) == pytest.approx(0.75)
    assert confusion(truth, predicted, classes=2).tolist() == [[1, 0], [1, 1]]
    assert np.isnan(balanced_accuracy(np.array([-1]), np.array([0])))
    assert confusion(np.array([-1]), np.array([0]), classes=2).tolist() == [[0, 0], [0, 0]]


def test_impossible_input_is_refused():
    half = np.full((2, 2), 0.5)
    with pytest.raises(SettingsError, match="labels 0 to 1, found 0 to 2"):
        brier_score(half, np.array([0, 2]))
    with pytest.raises(SettingsError, match="labels 0 to 1, found 1 to 3"):
        confusion(np.array([0, 1]), np.array([1, 3]), classes=2)
    with pytest.raises(SettingsError, match="sum to 1"):
        expected_calibration_error(half * 3, np.array([0, 1]))
    with pytest.raises(SettingsError, match="at least 1 bin, found 0"):
        expected_calibration_error(half, np.array([0, 1]), bins=0)
    with pytest.raises(SettingsError, match="at least 0, or -1 for none, found -2"):
        balanced_accuracy(np.array([-2]), np.array([0]))


@given(LABELS, LABELS, st.floats(0.5, 0.99))
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_estimate_and_grows_with_the_level(truth, predicted, level):
    lo, hi = balanced_accuracy_interval(truth, predicted, level=level)
    assert 0.0 <= lo <= balanced_accuracy(truth, predicted) <= hi <= 1.0
    wider = balanced_accuracy_interval(truth, predicted, level=level + 0.005)
    assert wider[0] <= lo
    assert wider[1] >= hi


def test_the_interval_of_one_class_is_wilsons():
    lo, hi = balanced_accuracy_interval(np.zeros(10, int), (np.arange(10) == 9).astype(int))
    assert (lo, hi) == pytest.approx((0.5958, 0.9821), abs=1e-4)  # 9 of 10, by the formula of Wilson (1927)


def test_plots_that_are_all_called_right_leave_a_doubt():
    truth = np.repeat(np.arange(4), 9)
    lo, hi = balanced_accuracy_interval(truth, truth)
    assert 0.8 < lo < 0.9
    assert hi == 1.0


@pytest.mark.parametrize(("recall", "plots"), [(0.98, 9), (0.9, 9), (0.8, 9), (0.5, 9), (0.9, 20)])
def test_the_interval_covers_the_truth_nearly_as_often_as_it_says(recall, plots):
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), plots)
    covered = 0
    for _ in range(2000):
        predicted = np.where(generator.random(truth.size) < recall, truth, (truth + 1) % 4)
        lo, hi = balanced_accuracy_interval(truth, predicted)
        covered += lo <= recall <= hi
    assert covered / 2000 >= 0.85


def test_plots_without_a_label_have_no_interval():
    assert np.isnan(balanced_accuracy_interval(np.full(3, -1), np.zeros(3, int))).all()
