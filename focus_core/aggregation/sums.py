"""Weighted sums per plot as a Dask graph: a sparse plot × tile matrix in each chunk, then a tree of additions.

Knows weights and columns; does not know what a column means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from scipy import sparse

_BRANCHES = 8
"""Partial sums added in one task of the tree."""


class PlotSums(NamedTuple):
    """Sums over some tiles, for the plots that these tiles belong to, so that a task holds no row without a tile."""

    plots: npt.NDArray[np.int64]
    """Plot numbers ``(row,)``, increasing."""
    totals: npt.NDArray[np.float64]
    """``(row, column)``: ``Σw``, ``Σw²``, the number of tiles, then ``Σw·x`` of every column."""


def weighted_sums(
    columns: Sequence[da.Array], plot_number: npt.NDArray[np.int64], weight: npt.NDArray[np.float64], plots: int
) -> da.Array:
    """Return the lazy sums ``(plot, 3 + column)`` of `PlotSums`, zero for a plot without tiles.

    The order of the additions depends on the chunks alone, so every scheduler gives the same bits.

    Parameters
    ----------
    columns
        Arrays ``(tile, …)`` with equal chunks along tiles; their other axes are laid out in C order, one array
        after the other, as columns.
    plot_number
        ``(tile,)``, 0 to ``plots - 1``.
    weight
        ``(tile,)``, positive.
    plots
        Number of plots.
    """
    bounds = np.concatenate([[0], np.cumsum(columns[0].chunks[0])])
    whole = [array.rechunk(dict.fromkeys(range(1, array.ndim), -1)) for array in columns]
    # Optimised one by one, arrays that share a source would each read it.
    blocks = [array.to_delayed(optimize_graph=False).ravel() for array in whole]
    partial, add, fill = (dask.delayed(function, pure=True) for function in (_partial, _add, _dense))
    level = [
        partial(plot_number[lo:hi], weight[lo:hi], *chunks)
        for lo, hi, *chunks in zip(bounds[:-1], bounds[1:], *blocks, strict=True)
    ]
    while len(level) > 1:
        level = [add(level[at : at + _BRANCHES]) for at in range(0, len(level), _BRANCHES)]
    width = 3 + sum(int(np.prod(array.shape[1:])) for array in columns)
    return da.from_delayed(fill(level[0], plots), shape=(plots, width), dtype=np.float64)


def _partial(
    plot_number: npt.NDArray[np.int64], weight: npt.NDArray[np.float64], *chunks: npt.NDArray[np.floating[Any]]
) -> PlotSums:
    plots, row = np.unique(plot_number, return_inverse=True)
    matrix = sparse.csr_array((weight, (row, np.arange(len(row)))), shape=(len(plots), len(row)))
    flat = [np.asarray(chunk, dtype=np.float64).reshape(len(row), -1) for chunk in chunks]
    columns = np.concatenate([np.ones((len(row), 1)), weight[:, None], *flat], axis=1)
    sums = np.asarray(matrix @ columns)
    return PlotSums(plots, np.insert(sums, 2, np.bincount(row, minlength=len(plots)), axis=1))


def _add(parts: Sequence[PlotSums]) -> PlotSums:
    plots, row = np.unique(np.concatenate([part.plots for part in parts]), return_inverse=True)
    totals = np.zeros((len(plots), parts[0].totals.shape[1]))
    np.add.at(totals, row, np.concatenate([part.totals for part in parts]))
    return PlotSums(plots, totals)


def _dense(sums: PlotSums, plots: int) -> npt.NDArray[np.float64]:
    totals = np.zeros((plots, sums.totals.shape[1]))
    totals[sums.plots] = sums.totals
    return totals
