"""The unit of analysis: squares of pixels, each assigned to one plot.

Knows geometry, folds and masks; reads no spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import distance_transform_cdt, maximum_filter

from focus_core.config import CampaignFile
from focus_core.config.campaign import Window
from focus_core.config.settings import FOLDS
from focus_core.cubes.axes import PixelBox, PixelGrid, PixelWindow, Shape2d
from focus_core.cubes.covered import covered

_INSIDE = 0.5
"""A pixel belongs to the plot that covers more than this share of it, so to one of several neighbours at most."""
_NO_FOLD = -1


@dataclass(frozen=True)
class PlotPixels:
    """Which pixels a plot covers, and how much of each."""

    plot: str
    label: int
    fold: str
    box: PixelBox
    """The pixels that the plot touches."""
    coverage: npt.NDArray[np.float32]
    """Share of each pixel of the box inside the plot ``(y, x)``, exact."""
    cut: bool
    """Whether part of the plot lies outside the image."""

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Pixels of the box that belong to the plot ``(y, x)``."""
        return np.asarray(self.coverage > _INSIDE)


@dataclass(frozen=True)
class Tile:
    """A window of a plot that is kept."""

    window: PixelWindow
    plot: PlotPixels
    valid_fraction: float
    """Share of the window's pixels that are valid and belong to the plot."""
    coverage: float
    """The window's area inside the plot, pixels."""


@dataclass(frozen=True)
class Dropped:
    """How many windows and plots were left out, and why."""

    guard: int = 0
    """Windows that reach into the guard between two folds."""
    invalid: int = 0
    """Windows with too few valid pixels of their plot."""

    def __add__(self, other: Dropped) -> Dropped:
        return Dropped(self.guard + other.guard, self.invalid + other.invalid)


def plot_pixels(
    file: CampaignFile, plots: gpd.GeoDataFrame, grid: PixelGrid, *, incomplete: bool = False
) -> list[PlotPixels]:
    """Lay the plots of a campaign on a grid.

    Parameters
    ----------
    file
        The campaign; named in errors.
    plots
        As `read_plots` returns them.
    grid
        The cube's.
    incomplete
        Whether the cube lacks a part of the field: a plot that lies only there has no pixels then.

    Raises
    ------
    CampaignError
        If a plot lies outside the image; if that is incomplete, only where all do.
    """
    rows, cols = grid.shape.rows, grid.shape.cols
    image = shapely.box(0, 0, cols, rows)
    shapes = [grid.to_pixels(shape) for shape in plots.geometry]
    outside = [shapely.intersection(shape, image).area <= 0.0 for shape in shapes]
    for name, shape, beside in zip(plots.index, shapes, outside, strict=True):
        if beside and (not incomplete or all(outside)):
            west, south, east, north = shape.bounds
            raise file.error(
                ("plots",),
                f"plot '{name}' lies outside the image: columns {west:.0f} to {east:.0f}, rows {south:.0f} to "
                f"{north:.0f} of {grid.shape}; check the CRS of plots and cubes",
            )
    result = []
    for name, shape, cells, (_, row) in zip(
        plots.index, shapes, covered(shapes, grid.box), plots.iterrows(), strict=True
    ):
        box, coverage = _crop(*cells, cols)
        cut = not shapely.covers(shapely.buffer(image, 1e-6), shape)
        result.append(PlotPixels(str(name), int(row["label"]), str(row["fold"]), box, coverage, cut))
    return result


def _crop(
    cell: npt.NDArray[np.int64], share: npt.NDArray[np.float64], cols: int
) -> tuple[PixelBox, npt.NDArray[np.float32]]:
    if not len(cell):
        return PixelBox(0, 0, 0, 0), np.zeros((0, 0), dtype=np.float32)
    down, across = np.divmod(cell, cols)
    top, left = int(down.min()), int(across.min())
    box = PixelBox(top, left, int(down.max()) - top + 1, int(across.max()) - left + 1)
    coverage = np.zeros((box.rows, box.cols), dtype=np.float32)
    np.add.at(coverage, (down - top, across - left), share)
    return box, coverage


def fold_map(file: CampaignFile, plots: Sequence[PlotPixels], shape: Shape2d) -> npt.NDArray[np.int8]:
    """Return the fold of every pixel ``(y, x)`` as an index into ``FOLDS``; -1 outside all plots.

    Raises
    ------
    CampaignError
        If a pixel belongs to plots of two folds.
    """
    folds = np.full((shape.rows, shape.cols), _NO_FOLD, dtype=np.int8)
    for position, plot in enumerate(plots):
        here = folds[plot.box.slices]
        own = FOLDS.index(plot.fold)
        if (plot.inside & (here != _NO_FOLD) & (here != own)).any():
            other = next(earlier for earlier in plots[:position] if _share_pixels(plot, earlier))
            raise file.error(
                ("plots",),
                f"plots '{plot.plot}' ({plot.fold}) and '{other.plot}' ({other.fold}) share pixels across folds; draw "
                "them apart, or give them one block",
            )
        here[plot.inside] = own
    return folds


def _share_pixels(one: PlotPixels, other: PlotPixels) -> bool:
    common = one.box.intersect(other.box)
    if common is None or one.fold == other.fold:
        return False
    masks = [plot.inside[common.within(plot.box).slices] for plot in (one, other)]
    return bool((masks[0] & masks[1]).any())


def window_grid(inside: PixelBox, window: Window, shape: Shape2d) -> list[PixelWindow]:
    """Return the windows over a rectangle, row by row, all within the image.

    Where the rectangle is smaller than a window, one window is centred on it. Otherwise windows step from its upper
    left corner; what the last step leaves is covered by a window moved back (``shift``), or not (``drop``).
    """
    rows = _starts(inside.row, inside.rows, shape.rows, window)
    cols = _starts(inside.col, inside.cols, shape.cols, window)
    return [PixelWindow(row, col, window.size_px) for row in rows for col in cols]


def _starts(first: int, length: int, image: int, window: Window) -> list[int]:
    size = window.size_px
    if length <= size:
        return [min(max(first - (size - length) // 2, 0), image - size)]
    starts = list(range(first, first + length - size + 1, window.stride_px))
    last = first + length - size
    return [*starts, last] if window.edge == "shift" and starts[-1] != last else starts


def tiles_of_plot(
    plot: PlotPixels,
    window: Window,
    *,
    folds: npt.NDArray[np.int8],
    valid: npt.NDArray[np.bool_],
    min_valid_fraction: float,
) -> tuple[list[Tile], Dropped]:
    """Return the kept windows of a plot and how many were dropped.

    Parameters
    ----------
    plot
        The plot's pixels.
    window
        Size, stride, edge policy and guard.
    folds
        As `fold_map` returns it ``(y, x)``.
    valid
        The cube's valid pixels ``(y, x)``.
    min_valid_fraction
        Smallest share of a window's pixels that are valid and inside the plot.
    """
    inside = plot.inside
    if not inside.any():
        return [], Dropped()
    shape = Shape2d(*valid.shape)
    usable = inside & valid[plot.box.slices]
    near = inside & _near_other_folds(plot, folds, window.guard_px, shape)
    tiles, guard, invalid = [], 0, 0
    for place in window_grid(_bounds(inside, plot.box), window, shape):
        common = place.box.intersect(plot.box)
        if common is None:
            continue
        part = common.within(plot.box).slices
        fraction = float(usable[part].sum()) / place.size**2
        if near[part].any():
            guard += 1
        elif fraction < min_valid_fraction:
            invalid += 1
        else:
            tiles.append(Tile(place, plot, fraction, float(plot.coverage[part].sum(dtype=np.float64))))
    return tiles, Dropped(guard, invalid)


def _bounds(inside: npt.NDArray[np.bool_], box: PixelBox) -> PixelBox:
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return PixelBox(
        box.row + int(rows[0]), box.col + int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    )


def _near_other_folds(
    plot: PlotPixels, folds: npt.NDArray[np.int8], guard: int, shape: Shape2d
) -> npt.NDArray[np.bool_]:
    """Return which pixels of the plot's box lie within half the guard of ground that is another fold's.

    All ground belongs to the fold of the nearest plot (chessboard distance; of two equally near, the first fold).
    Pixels that keep half the guard from other folds' ground on both sides have the whole guard between them.
    """
    if guard == 0:
        return np.zeros((plot.box.rows, plot.box.cols), dtype=np.bool_)
    # Ground within half the guard of this plot can be nearer to plots within the whole guard only.
    around = plot.box.grown(guard + 1, shape)
    here, own = folds[around.slices], FOLDS.index(plot.fold)
    reach = distance_transform_cdt(here != own, metric="chessboard")
    foreign = np.zeros(here.shape, dtype=np.bool_)
    for fold in set(np.unique(here).tolist()) - {own, _NO_FOLD}:
        other = distance_transform_cdt(here != fold, metric="chessboard")
        foreign |= (other <= reach) if fold < own else (other < reach)
    half = (guard + 1) // 2
    grown = maximum_filter(foreign.astype(np.uint8), size=2 * half + 1, mode="constant")
    return np.asarray(grown[plot.box.within(around).slices] > 0)
