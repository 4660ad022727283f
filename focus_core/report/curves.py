"""Curves per class and their intervals over plots.

Knows flights and reference bands; draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from focus_core.report.flight import Flight

LEVEL = 0.95
"""Level of every interval over plots."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean importance per nm of the plots of one class, for that class."""

    name: str
    plots: int
    trained: int
    """Of these, plots that the model was trained on."""
    mean: npt.NDArray[np.float64]
    """``(group,)``."""
    lo: npt.NDArray[np.float64]
    """``(group,)``; NaN where the class has fewer than two plots."""
    hi: npt.NDArray[np.float64]
    """``(group,)``; NaN where the class has fewer than two plots."""
    reference_nm: tuple[tuple[float, float], ...] = ()
    """Ranges in which physiology or experts expect the class."""


def class_curves(flight: Flight, reference: xr.Dataset | None, *, draws: int) -> list[Curve]:
    """Average the curves of each class over its plots; a class without plots has none.

    Parameters
    ----------
    flight
        The flight.
    reference
        As the schema ``REFERENCE`` says, or nothing to shade.
    draws
        Draws of the bootstrap over plots.
    """
    ranges = {} if reference is None else _reference_ranges(reference)
    curves = []
    for index, name in enumerate(flight.classes):
        own = [row for row in range(len(flight.plots)) if flight.grouping[row] == name]
        if not own:
            continue
        values = flight.per_nm[own, index]
        lo, hi = mean_interval(values, draws=draws)
        curve = Curve(
            name=name,
            plots=len(own),
            trained=sum(flight.fold[row] == "train" for row in own),
            mean=values.mean(axis=0),
            lo=lo,
            hi=hi,
            reference_nm=ranges.get(name, ()),
        )
        curves.append(curve)
    return curves


def mean_interval(
    values: npt.NDArray[np.float64], *, draws: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the percentile bootstrap of the mean of rows (Davison & Hinkley 1997, 5.3); NaN for fewer than two."""
    count = len(values)
    if count < 2:
        return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1.0 / count), size=draws) / count
    means = np.tensordot(weights, values, axes=1)
    lo, hi = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return lo, hi


def _reference_ranges(reference: xr.Dataset) -> dict[str, tuple[tuple[float, float], ...]]:
    """Return the runs of reference bands of each class, out to halfway to the next band."""
    nm = reference["wavelength"].to_numpy()
    middle = (nm[1:] + nm[:-1]) / 2
    edges = np.concatenate([nm[:1], middle, nm[-1:]])
    bands, known = reference["reference"].to_numpy(), reference["has_reference"].to_numpy()
    found = {}
    for index, name in enumerate(reference["cls"].to_numpy()):
        steps = np.diff(np.concatenate([[0], bands[index].astype(int), [0]]))
        starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        if known[index]:
            found[str(name)] = tuple((float(edges[lo]), float(edges[hi])) for lo, hi in zip(starts, stops, strict=True))
    return found
