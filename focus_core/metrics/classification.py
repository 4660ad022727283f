"""How often plots are classified right, and how far their probabilities can be trusted.

Knows labels and probabilities of plots; does not know how a plot's probability came from its windows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binomtest

from focus_core.errors import SettingsError

UNLABELLED = -1
"""Label of a plot without one; such plots are left out of every metric here."""


def balanced_accuracy(truth: Int[np.ndarray, " plot"], predicted: Int[np.ndarray, " plot"]) -> float:
    """Mean over classes of the share of their plots that is classified right.

    Parameters
    ----------
    truth
        ``(plot,)`` int, index of the true class, -1 = unlabelled.
    predicted
        ``(plot,)`` int, index of the predicted class.

    Returns
    -------
    float
        In [0, 1], over the classes that have a labelled plot; NaN without one.

    Raises
    ------
    SettingsError
        If a label is below -1.
    """
    right, plots = _right_by_class(truth, predicted)
    return float((right / plots).mean()) if plots.size else float("nan")


def balanced_accuracy_interval(
    truth: Int[np.ndarray, " plot"], predicted: Int[np.ndarray, " plot"], *, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the balanced accuracy over plots: Wilson's of each class, put together as variances are.

    Zou and Donner (2008, Statistics in Medicine 27:1693), after Newcombe (1998, Statistics in Medicine 17:873). A
    bootstrap of plots that are all called right has no width; with nine plots of each of four classes and a true
    accuracy of 0.98 its 95 % intervals cover it in half of the cases, these in 0.87.

    Parameters
    ----------
    truth, predicted
        As in `balanced_accuracy`; plots are taken as independent of each other.
    level
        Coverage, in (0, 1).

    Returns
    -------
    tuple[float, float]
        In [0, 1]; NaN without a labelled plot.

    Raises
    ------
    SettingsError
        If a label is below -1.
    """
    right, plots = _right_by_class(truth, predicted)
    if not plots.size:
        return float("nan"), float("nan")
    share = right / plots
    bounds = [
        binomtest(int(k), int(n)).proportion_ci(confidence_level=level, method="wilson")
        for k, n in zip(right, plots, strict=True)
    ]
    below, above = (np.sqrt(((share - np.array(side)) ** 2).sum()) / plots.size for side in zip(*bounds, strict=True))
    return float(share.mean() - below), float(share.mean() + above)


def _right_by_class(
    truth: Int[np.ndarray, " plot"], predicted: Int[np.ndarray, " plot"]
) -> tuple[Int[np.ndarray, " cls"], Int[np.ndarray, " cls"]]:
    """Count plots called right, and all plots, of each class that has any."""
    labelled = truth != UNLABELLED
    truth, predicted = truth[labelled], predicted[labelled]
    if truth.size and truth.min() < 0:
        raise SettingsError(f"expected labels of at least 0, or {UNLABELLED} for none, found {truth.min()}")
    plots = np.bincount(truth)
    right = np.bincount(truth[truth == predicted], minlength=plots.size)
    return right[plots > 0], plots[plots > 0]


def confusion(
    truth: Int[np.ndarray, " plot"], predicted: Int[np.ndarray, " plot"], *, classes: int
) -> Int[np.ndarray, "true_cls predicted_cls"]:
    """Count plots by true and predicted class.

    Parameters
    ----------
    truth
        ``(plot,)`` int, index of the true class, -1 = unlabelled.
    predicted
        ``(plot,)`` int, index of the predicted class.
    classes
        Number of classes; those without a plot keep their row and column.

    Returns
    -------
    Int[np.ndarray, "true_cls predicted_cls"]
        ``(cls, cls)`` int64, true class by row.

    Raises
    ------
    SettingsError
        If a label is not a class.
    """
    labelled = truth != UNLABELLED
    truth, predicted = truth[labelled], predicted[labelled]
    _check_labels(truth, classes)
    _check_labels(predicted, classes)
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return np.asarray(counts.reshape(classes, classes))


def expected_calibration_error(
    probability: Float[np.ndarray, "plot cls"], truth: Int[np.ndarray, " plot"], *, bins: int = 15
) -> float:
    """Measure the expected calibration error of the predicted class (Guo et al., ICML 2017).

    The largest probability of each plot is put into ``bins`` bins of equal width over [0, 1], each closed at its
    upper edge; the gaps between mean probability and accuracy are averaged, weighted by the plots in the bin.

    Parameters
    ----------
    probability
        ``(plot, cls)`` float, rows sum to 1; a plot with a NaN is left out.
    truth
        ``(plot,)`` int, index of the true class, -1 = unlabelled.
    bins
        Number of bins.

    Returns
    -------
    float
        In [0, 1]; NaN without a labelled plot.

    Raises
    ------
    SettingsError
        If ``bins`` is not positive, a label is not a class, or a row is not a distribution.
    """
    if bins < 1:
        raise SettingsError(f"expected at least 1 bin, found {bins}")
    probability, truth = _labelled(probability, truth)
    if not truth.size:
        return float("nan")
    confidence = probability.max(axis=1)
    gap = confidence - (probability.argmax(axis=1) == truth)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(index, weights=gap, minlength=bins)).sum() / truth.size)


def brier_score(probability: Float[np.ndarray, "plot cls"], truth: Int[np.ndarray, " plot"]) -> float:
    """Multi-class Brier score (1950): mean over plots of the squared distance from the true class, summed over classes.

    Parameters
    ----------
    probability
        ``(plot, cls)`` float, rows sum to 1; a plot with a NaN is left out.
    truth
        ``(plot,)`` int, index of the true class, -1 = unlabelled.

    Returns
    -------
    float
        In [0, 2], 0 is best; NaN without a labelled plot.

    Raises
    ------
    SettingsError
        If a label is not a class or a row is not a distribution.
    """
    probability, truth = _labelled(probability, truth)
    if not truth.size:
        return float("nan")
    wanted = np.eye(probability.shape[1])[truth]
    return float(((probability - wanted) ** 2).sum(axis=1).mean())


def _check_labels(labels: Int[np.ndarray, " plot"], classes: int) -> None:
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise SettingsError(
            f"expected labels 0 to {classes - 1}, found {labels.min()} to {labels.max()}; "
            "give as many classes as there are labels"
        )


def _labelled(
    probability: Float[np.ndarray, "plot cls"], truth: Int[np.ndarray, " plot"]
) -> tuple[Float[np.ndarray, "labelled cls"], Int[np.ndarray, " labelled"]]:
    """Keep the plots with a label and a probability, and check them."""
    known = (truth != UNLABELLED) & ~np.isnan(probability).any(axis=1)
    probability, truth = probability[known].astype(np.float64), truth[known]
    _check_labels(truth, probability.shape[1])
    if (probability < 0).any() or not np.allclose(probability.sum(axis=1), 1, atol=1e-3):
        raise SettingsError("expected rows of probabilities that sum to 1, found others; pass them after the softmax")
    return probability, truth
