"""Whether the plots of a flight look like those that a model was trained on.

Knows numbers of plots; does not know flights, models or stores. Plots are taken as independent draws: where neighbours
share soil or weather, alarms are more frequent than stated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

DRIFT_LEVEL = 0.01
"""How often a flight that did not drift raises an alarm, over all questions together."""

_FEWEST = 5
"""Plots on each side below which nothing is said."""


class Plots(NamedTuple):
    """What is compared."""

    reflectance: Float[np.ndarray, "plot group"]
    """Mean of each plot and wavelength group, in the quantity of the model; NaN where there is none."""
    class_counts: Int[np.ndarray, " cls"]
    """Plots of each class: true where a model was trained, predicted where it is used."""
    sink_share: Float[np.ndarray, " scored"]
    """Attention that a plot's prompts leave on the sink, mean over classes and groups; none without a sink."""


def drift(flight: Plots, training: Plots) -> dict[str, float]:
    """Return how far a flight is from training, and how many of three questions raise an alarm.

    Spectra: two-sample Kolmogorov-Smirnov test of each wavelength group, the smallest p-value times the number of
    groups (Bonferroni). Class shares: chi-squared test. Sink share, whether it rose: one-sided Mann-Whitney test. An
    alarm is a p-value below `DRIFT_LEVEL` over the number of questions asked.

    Returns
    -------
    dict of str to float
        ``spectrum``, the largest Kolmogorov-Smirnov distance over groups (0 to 1); ``classes``, the total variation
        distance of class shares (0 to 1); ``sink``, the chance that a plot of the flight leaves more on the sink than
        one of training (0.5: no change); each with its p-value (``spectrum_p``), and ``alarms``. A question that too
        few plots answer is left out.
    """
    answers = {
        "spectrum": _spectrum(flight.reflectance, training.reflectance),
        "classes": _classes(flight.class_counts, training.class_counts),
        "sink": _sink(flight.sink_share, training.sink_share),
    }
    found = {name: answer for name, answer in answers.items() if answer is not None}
    alarms = sum(p < DRIFT_LEVEL / len(found) for _, p in found.values())
    sizes = {name: size for name, (size, _) in found.items()}
    return {**sizes, **{f"{name}_p": p for name, (_, p) in found.items()}, "alarms": float(alarms)}


def _spectrum(
    flight: Float[np.ndarray, "plot group"], training: Float[np.ndarray, "other group"]
) -> tuple[float, float] | None:
    pairs = [(now[np.isfinite(now)], then[np.isfinite(then)]) for now, then in zip(flight.T, training.T, strict=True)]
    tests = [stats.ks_2samp(*pair) for pair in pairs if min(map(len, pair)) >= _FEWEST]
    if not tests:
        return None
    smallest = min(float(test.pvalue) for test in tests)
    return max(float(test.statistic) for test in tests), min(1.0, smallest * len(tests))


def _classes(flight: Int[np.ndarray, " cls"], training: Int[np.ndarray, " cls"]) -> tuple[float, float] | None:
    table = np.array([flight, training])
    if table.sum(axis=1).min() < _FEWEST:
        return None
    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    seen = table[:, table.sum(axis=0) > 0]
    return distance, float(stats.chi2_contingency(seen, correction=False).pvalue)


def _sink(flight: Float[np.ndarray, " plot"], training: Float[np.ndarray, " other"]) -> tuple[float, float] | None:
    if min(len(flight), len(training)) < _FEWEST:
        return None
    test = stats.mannwhitneyu(flight, training, alternative="greater")
    return float(test.statistic / (len(flight) * len(training))), float(test.pvalue)
