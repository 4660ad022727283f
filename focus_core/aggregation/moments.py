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


def chunk_moments(chunk: npt.NDArray[Any], cover: Coverage, missing: float) -> Moments:
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
        Number that stands for a missing value; it counts in no band where it stands. NaN does so always.
    """
    stored = chunk.reshape(len(chunk), -1)[:, cover.pixels]
    absent = (stored == missing) | np.isnan(stored)
    x = np.ascontiguousarray(stored.T, dtype=np.float64)
    share, squared = cover.share, cover.share.power(2)
    first = x[absent.argmin(axis=1), np.arange(len(chunk))]
    shift = np.where(np.isnan(first), 0.0, first)
    x -= shift
    if absent.any():
        x[absent.T] = 0.0
        present = np.ascontiguousarray(~absent.T, dtype=np.float64)
        weight, square = share @ present, squared @ present
    else:  # most chunks: every band has the same weights
        weight, square = (np.repeat(matrix.sum(axis=1)[:, None], len(chunk), axis=1) for matrix in (share, squared))
    with np.errstate(invalid="ignore"):
        mean = np.where(weight > 0.0, (share @ x) / weight, 0.0)
    x *= x
    squares = share @ x
    spread = squares - weight * mean**2
    # A difference below the rounding of its terms is no spread: a plot of one pixel has none.
    noise = np.finfo(np.float64).eps * (np.diff(share.indptr)[:, None] + 3) * squares
    spread[spread <= noise] = 0.0
    return Moments(cover.plots, np.stack([weight, square, np.where(weight > 0.0, mean + shift, 0.0), spread]))


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
