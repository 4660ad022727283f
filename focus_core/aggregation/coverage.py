"""How much of each pixel a plot covers, exactly, as a sparse plot × pixel matrix of one part of the image.

Knows polygons and pixels; reads no spectra. Plots may overlap: a pixel then counts for each of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from focus_core.cubes.axes import PixelBox
from focus_core.cubes.covered import covered


class Coverage(NamedTuple):
    """What the plots that reach into a box cover of it."""

    plots: npt.NDArray[np.int64]
    """Plot numbers ``(row,)``, increasing."""
    pixels: npt.NDArray[np.int64]
    """Pixels of the box that a plot covers some of ``(pixel,)``: numbers in C order, increasing."""
    share: sparse.csr_array
    """Share of each such pixel inside each plot ``(row, pixel)``, float64, 0 to 1."""
    weight: npt.NDArray[np.float64]
    """Sum of each plot's shares ``(row,)``."""
    square: npt.NDArray[np.float64]
    """Sum of their squares."""


def coverage(
    shapes: npt.NDArray[np.object_],
    numbers: npt.NDArray[np.int64],
    box: PixelBox,
    *,
    valid: npt.NDArray[np.bool_],
) -> Coverage:
    """Return what each polygon covers of each valid pixel of a box.

    Parameters
    ----------
    shapes
        Polygons in pixels: x is the column, y the row. One that covers no valid pixel has no row in the result.
    numbers
        Plot number of each, increasing.
    box
        The part of the image.
    valid
        ``(y, x)`` of the box; other pixels are left out.
    """
    found = covered(shapes, box)
    row = np.repeat(np.arange(len(found)), [len(cells) for cells, _ in found])
    cell = np.concatenate([*(cells for cells, _ in found), np.empty(0, np.int64)])
    share = np.concatenate([*(shares for _, shares in found), np.empty(0)])
    held = valid.ravel()[cell] & (share > 0.0)
    touched = np.zeros(valid.size, dtype=np.bool_)
    touched[cell[held]] = True
    column = (np.cumsum(touched) - 1)[cell[held]]
    count = np.bincount(row[held], minlength=len(found))
    rows, pixels = np.flatnonzero(count), np.flatnonzero(touched)
    starts = np.concatenate([[0], np.cumsum(count[rows])])
    matrix = sparse.csr_array((share[held], column, starts), shape=(len(rows), len(pixels)))
    sums = (np.asarray(each.sum(axis=1), dtype=np.float64) for each in (matrix, matrix.power(2)))
    return Coverage(numbers[rows], pixels, matrix, *sums)
