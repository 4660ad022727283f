"""Weighted moments of the pixels of one chunk, plot by plot, and how the moments of two chunks become one.

Knows arrays and coverage; knows neither stores nor polygons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from focus_core.aggregation.coverage import Coverage


class Moments(NamedTuple):
    """Moments of some pixels, for the plots that cover some of them."""

    plots: npt.NDArray[np.int64]
    """Plot numbers ``(row,)``, increasing."""
    values: npt.NDArray[np.float64]
    """``(4, row, band)``: ``Σw``, ``Σw²``, the weighted mean (0 without weight) and ``Σw·(x - mean)²``."""


def chunk_moments(chunk: npt.NDArray[Any], cover: Coverage, missing: Any) -> Moments:
    """Return the moments of one chunk: all its bands in one product of the coverage with the covered pixels.

    Sums are taken around one of the chunk's own values in each band, so that a large mean does not swallow a small
    variance; whole numbers are thereby exact.

    Parameters
    ----------
    chunk
        ``(band, y, x)``, any real dtype.
    cover
        What the plots cover of it.
    missing
        Number, best of the chunk's dtype, that stands for a missing value; it counts in no band where it stands. NaN
        does so always.
    """
    stored = chunk.reshape(len(chunk), -1).take(cover.pixels, axis=1)
    absent = stored == missing
    if stored.dtype.kind == "f":
        absent |= np.isnan(stored)
    share = cover.share
    if absent.any():
        x, shift, present = _around_first(stored, absent)
        weight, squared = share @ present, share.power(2) @ present
    else:  # most chunks: every band has the same weights
        x, shift = _turned(_less(stored, stored[:, :1])), stored[:, 0].astype(np.float64)
        weight, squared = (np.repeat(sums[:, None], len(chunk), axis=1) for sums in (cover.weight, cover.square))
    with np.errstate(invalid="ignore"):
        mean = np.where(weight > 0.0, (share @ x) / weight, 0.0)
    x *= x
    squares = share @ x
    spread = squares - weight * mean**2
    # A difference below the rounding of its terms is no spread: a plot of one pixel has none.
    noise = np.finfo(np.float64).eps * (np.diff(share.indptr)[:, None] + 3) * squares
    spread[spread <= noise] = 0.0
    return Moments(cover.plots, np.stack([weight, squared, np.where(weight > 0.0, mean + shift, 0.0), spread]))


def _around_first(
    stored: npt.NDArray[Any], absent: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return values ``(pixel, band)`` less the first of their band, 0 where missing, that one, and 1 for a value."""
    first = np.take_along_axis(stored, absent.argmin(axis=1)[:, None], axis=1)
    shift = np.where(absent.all(axis=1, keepdims=True), 0, first).astype(stored.dtype)
    difference = _less(stored, shift)
    difference[absent] = 0
    return _turned(difference), shift[:, 0].astype(np.float64), _turned(~absent)


def _less(stored: npt.NDArray[Any], shift: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A difference of two short whole numbers fits 32 bits, and half the bytes turn sooner into the order wanted.
    short = stored.dtype.kind in "iu" and stored.dtype.itemsize < 4
    difference: npt.NDArray[Any] = np.subtract(stored, shift, dtype=np.int32 if short else np.float64)
    return difference


def _turned(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.ascontiguousarray(values.T, dtype=np.float64)


def merge(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all parts together.

    Parts are joined by their means (Chan, Golub and LeVeque 1983, *Algorithms for computing the sample variance*, The
    American Statistician 37), which loses no digits where a difference of large sums would.

    Parameters
    ----------
    parts
        Moments of disjoint pixels, of the same bands.
    """
    plots, row = np.unique(np.concatenate([part.plots for part in parts]), return_inverse=True)
    weight, square, mean, spread = np.concatenate([part.values for part in parts], axis=1)
    total = np.zeros((4, len(plots), weight.shape[1]))
    np.add.at(total[0], row, weight)
    np.add.at(total[1], row, square)
    np.add.at(total[2], row, weight * mean)
    np.divide(total[2], total[0], out=total[2], where=total[0] > 0.0)
    np.add.at(total[3], row, spread + weight * (mean - total[2][row]) ** 2)
    return Moments(plots, total)
