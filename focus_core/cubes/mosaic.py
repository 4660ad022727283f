"""Several files of one flight on one grid, lazily.

Knows positions only; where files overlap, the one that the campaign names first counts, wherever it measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt

from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.errors import CubeError

_ALIGNED_PX = 0.05
_MOST_EMPTY = 100
"""A grid has at most so many times the pixels of all files, unless it is small."""
_SMALL_PIXELS = 10**7


@dataclass(frozen=True)
class Part:
    """The quantity of one file and its place on the flight's grid."""

    data: Any
    """Dask array ``(band, y, x)``, float32."""
    box: PixelBox


def place(grids: Sequence[tuple[str, PixelGrid]]) -> tuple[PixelGrid, list[PixelBox]]:
    """Return the grid that holds all files, and the place of each on it.

    Parameters
    ----------
    grids
        Name and grid of each file; without a CRS there can be one only.

    Raises
    ------
    CubeError
        If pixel sizes differ, the files are shifted by parts of a pixel, or next to nothing of the grid is measured.
    """
    name, first = grids[0]
    if len(grids) == 1:
        return first, [first.box]
    boxes = []
    for other_name, other in grids:
        sizes = [(grid.transform.a, grid.transform.e) for grid in (first, other)]
        if not np.allclose(sizes[0], sizes[1], rtol=1e-6):
            raise CubeError(f"{other_name}: pixels of {sizes[1]}, but {name} has {sizes[0]}; resample to one grid")
        col, row = first.place(other)
        if max(abs(col - round(col)), abs(row - round(row))) > _ALIGNED_PX:
            raise CubeError(
                f"{other_name}: shifted by ({col % 1:.2f}, {row % 1:.2f}) px against {name}; resample to one grid"
            )
        boxes.append(PixelBox(round(row), round(col), other.shape.rows, other.shape.cols))
    top, left = min(box.row for box in boxes), min(box.col for box in boxes)
    shape = Shape2d(
        rows=max(box.row + box.rows for box in boxes) - top, cols=max(box.col + box.cols for box in boxes) - left
    )
    measured = sum(box.rows * box.cols for box in boxes)
    if shape.pixels > max(_MOST_EMPTY * measured, _SMALL_PIXELS):
        far = max(range(len(boxes)), key=lambda index: abs(boxes[index].row) + abs(boxes[index].col))
        raise CubeError(
            f"{grids[far][0]}: lies so far from {name} that both need a grid of {shape}, of which the cubes cover "
            f"{measured / shape.pixels:.1g}; correct 'grid', or make campaigns of them"
        )
    origin = PixelBox(top, left, shape.rows, shape.cols)
    return first.part(origin), [box.within(origin) for box in boxes]


@dataclass(frozen=True)
class Nearest:
    """Which pixels of one grid lie under the pixels of another."""

    rows: npt.NDArray[np.int64]
    """``(y,)``."""
    cols: npt.NDArray[np.int64]
    """``(x,)``."""
    inside: npt.NDArray[np.bool_]
    """``(y, x)``: whether there is one."""


def nearest(own: PixelGrid, target: PixelGrid) -> Nearest:
    """Return which pixels of ``own`` hold the centres of the pixels of ``target``."""
    row = np.floor((target.y - own.transform.f) / own.transform.e)
    col = np.floor((target.x - own.transform.c) / own.transform.a)
    inside = ((row >= 0) & (row < own.shape.rows))[:, None] & ((col >= 0) & (col < own.shape.cols))
    return Nearest(
        rows=np.clip(row, 0, own.shape.rows - 1).astype(np.int64),
        cols=np.clip(col, 0, own.shape.cols - 1).astype(np.int64),
        inside=inside,
    )


def mosaic(parts: Sequence[Part], shape: Shape2d, *, chunk_px: int) -> Any:
    """Return the dask array ``(band, y, x)``, float32, of all files; NaN where none lies.

    All bands of ``chunk_px × chunk_px`` pixels are one chunk, so that each stored pixel is read once.
    """
    rows = []
    for top in range(0, shape.rows, chunk_px):
        row = []
        for left in range(0, shape.cols, chunk_px):
            box = PixelBox(top, left, min(chunk_px, shape.rows - top), min(chunk_px, shape.cols - left))
            row.append(_block(parts, box))
        rows.append(row)
    return da.block([rows])


def _block(parts: Sequence[Part], box: PixelBox) -> Any:
    pieces = []
    for part in parts:
        common = box.intersect(part.box)
        if common is None:
            continue
        source, target = common.within(part.box), common.within(box)
        pieces.append((part.data[:, source.slices[0], source.slices[1]], target))
    if len(pieces) == 1 and pieces[0][1] == PixelBox(0, 0, box.rows, box.cols):
        return pieces[0][0].rechunk(-1)
    shape = (parts[0].data.shape[0], box.rows, box.cols)
    composed = dask.delayed(_compose, pure=False)(
        shape, [values for values, _ in pieces], [target for _, target in pieces]
    )
    return da.from_delayed(composed, shape, dtype=np.float32)


def _compose(
    shape: tuple[int, int, int], pieces: list[npt.NDArray[np.float32]], targets: list[PixelBox]
) -> npt.NDArray[np.float32]:
    """Lay pieces on a missing ground, the first named on top."""
    values = np.full(shape, np.nan, dtype=np.float32)
    for piece, target in zip(reversed(pieces), reversed(targets), strict=True):
        below = values[:, target.slices[0], target.slices[1]]
        np.copyto(below, piece, where=np.isfinite(piece).any(axis=0))
    return values
