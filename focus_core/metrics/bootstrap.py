"""Intervals by resampling whole clusters: rows of one plot are not independent.

Knows rows and their clusters; does not know what the statistic measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from focus_core.errors import SettingsError


class Interval(NamedTuple):
    """A point estimate with its bootstrap interval."""

    estimate: float
    """Of all rows."""
    lo: float
    hi: float
    """NaN where no stratum has two clusters, or half of the draws or more are undefined."""
    draws: int
    """Draws in which the statistic was defined."""


def cluster_bootstrap(
    statistic: Callable[[Int[np.ndarray, " row"]], float],
    clusters: Shaped[np.ndarray, " row"],
    *,
    strata: Shaped[np.ndarray, " row"] | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic, drawing clusters with replacement (Davison & Hinkley 1997, 3.8).

    A drawn cluster brings all of its rows, as often as it is drawn. Without ``strata`` every cluster is drawn from
    one urn and a class may be missing from a draw. With ``strata`` each stratum keeps its number of clusters: the
    right choice for a designed trial, whose plots per treatment are fixed, and for balanced accuracy.

    Parameters
    ----------
    statistic
        Value of a set of rows, given their indices ``(row,)`` int64 with repeats; may return NaN.
    clusters
        ``(row,)`` id of each row's cluster, say its plot.
    strata
        ``(row,)`` stratum of each row, say its plot's class; one for all rows of a cluster.
    draws
        Number of resamples.
    seed
        Of the resampling.
    level
        Coverage of the interval, in (0, 1).

    Returns
    -------
    Interval
        Estimate of all rows and the percentile interval around it.

    Raises
    ------
    SettingsError
        If there is no row, ``draws`` or ``level`` is out of range, or a cluster lies in two strata.
    """
    if draws < 1 or not 0 < level < 1:
        raise SettingsError(
            f"expected at least 1 draw and a level between 0 and 1, found {draws} draws at level {level}"
        )
    if not clusters.size:
        raise SettingsError("expected at least one row to resample, found none")
    _, cluster_of_row = np.unique(clusters, return_inverse=True)
    rows = np.split(np.argsort(cluster_of_row, kind="stable"), np.bincount(cluster_of_row).cumsum()[:-1])
    urns = _urns(rows, strata)
    estimate = float(statistic(np.arange(clusters.size)))
    if max(urn.size for urn in urns) < 2:
        return Interval(estimate, float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        drawn = np.concatenate([rng.choice(urn, size=urn.size) for urn in urns])
        values[draw] = statistic(np.concatenate([rows[cluster] for cluster in drawn]))
    known = values[~np.isnan(values)]
    if 2 * known.size <= draws:
        return Interval(estimate, float("nan"), float("nan"), known.size)
    lo, hi = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(lo), float(hi), known.size)


def _urns(rows: list[Int[np.ndarray, " _"]], strata: Shaped[np.ndarray, " row"] | None) -> list[Int[np.ndarray, " _"]]:
    """Clusters of each stratum."""
    if strata is None:
        return [np.arange(len(rows))]
    _, stratum_of_row = np.unique(strata, return_inverse=True)
    stratum_of_cluster = np.array([stratum_of_row[own[0]] for own in rows])
    for cluster, own in enumerate(rows):
        if (stratum_of_row[own] != stratum_of_cluster[cluster]).any():
            raise SettingsError(
                f"expected one stratum for all rows of a cluster, found {sorted(set(strata[own].tolist()))} in one"
            )
    return [np.flatnonzero(stratum_of_cluster == stratum) for stratum in np.unique(stratum_of_cluster)]
