"""Windows of a campaign from a stored cube: which there are, and their pixels, each stored block decoded once.

Knows ``cube.zarr`` and plots; does not write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from focus_core.config import CampaignFile
from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.cubes.schema import FILL
from focus_core.cubes.windows import Dropped, PlotPixels, Tile, fold_map, plot_pixels, tiles_of_plot
from focus_core.errors import CampaignError, StoreError

USUAL_STDS = 8.0
"""Soil and shade within a crop lie nearer to its median, a white sheet much further off."""
_TENTH_TO_TENTH = 2.563
"""From the 10 % to the 90 % quantile of a normal distribution, in standard deviations."""
_CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Tiling:
    """All windows of a campaign, plot by plot in the order in which the cube is read."""

    plots: tuple[PlotPixels, ...]
    tiles: tuple[Tile, ...]
    dropped: Dropped
    shared: int
    """Pixels that more than one plot claims."""


def tile_campaign(
    file: CampaignFile,
    plots: gpd.GeoDataFrame,
    grid: PixelGrid,
    valid: npt.NDArray[np.bool_],
    *,
    min_valid_fraction: float,
    block_px: int,
    incomplete: bool = False,
) -> Tiling:
    """Decide all windows of a campaign.

    Parameters
    ----------
    file
        The campaign.
    plots
        As `read_plots` returns them.
    grid
        The cube's.
    valid
        The cube's valid pixels ``(y, x)``.
    min_valid_fraction
        Windows with a smaller share of valid pixels inside their plot are dropped.
    block_px
        Side of the cube's chunks, pixels; plots are ordered by the chunk in which they start.
    incomplete
        Whether damaged cubes of the flight were left out: plots may lie outside the image then, and have no window.

    Raises
    ------
    CampaignError
        If a plot lies outside the image, plots of two folds share a pixel, the image is smaller than a window, or a
        class has no training window.
    """
    window = file.campaign.window
    if window.size_px > min(grid.shape.rows, grid.shape.cols):
        raise file.error(("window", "size_px"), f"is {window.size_px}, but the image has {grid.shape}; choose less")
    pixels = plot_pixels(file, plots, grid, incomplete=incomplete)
    pixels.sort(key=lambda plot: (plot.box.row // block_px, plot.box.col // block_px, plot.plot))
    folds = fold_map(file, pixels, grid.shape)
    tiles: list[Tile] = []
    dropped = Dropped()
    for plot in pixels:
        kept, left_out = tiles_of_plot(plot, window, folds=folds, valid=valid, min_valid_fraction=min_valid_fraction)
        tiles += kept
        dropped += left_out
    if not tiles:
        raise file.error(
            ("window",),
            f"no window is left: {dropped.guard} lie in the guard, {dropped.invalid} hold too few valid pixels "
            "of their plot",
        )
    _refuse_untrained(file, pixels, tiles)
    return Tiling(tuple(pixels), tuple(tiles), dropped, _shared(pixels, grid.shape))


def _shared(plots: Sequence[PlotPixels], shape: Shape2d) -> int:
    once = np.zeros((shape.rows, shape.cols), dtype=np.bool_)
    twice = np.zeros_like(once)
    for plot in plots:
        twice[plot.box.slices] |= once[plot.box.slices] & plot.inside
        once[plot.box.slices] |= plot.inside
    return int(twice.sum())


def _refuse_untrained(file: CampaignFile, plots: Sequence[PlotPixels], tiles: Sequence[Tile]) -> None:
    """Refuse a class without a training window, unless no plot has a label at all."""
    if all(plot.label < 0 for plot in plots):
        return
    for label, name in enumerate(file.campaign.classes):
        of_class = [plot for plot in plots if plot.label == label]
        if any(tile.plot.label == label and tile.plot.fold == "train" for tile in tiles):
            continue
        training = [plot.plot for plot in of_class if plot.fold == "train"]
        if not of_class:
            why = "no plot at all; remove it from 'classes' or label plots"
        elif not training:
            why = f"none of its {len(of_class)} plots in the fold 'train'; choose another folds.seed, or larger shares"
        else:
            why = f"no window left in its training plots {training[:3]}; choose a smaller window or guard"
            if any(plot.box.rows == 0 for plot in of_class):
                why += ", or mend the cubes that were left out: plots lie only there"
        raise _untrained(file, name, why)


def _untrained(file: CampaignFile, name: str, why: str) -> CampaignError:
    return file.error(("classes",), f"class '{name}' has no training plot with a window: {why}")


class BlockReader:
    """Reads boxes of stored numbers ``(band, y, x)`` from a Zarr array and keeps the last decoded chunks.

    Parameters
    ----------
    array
        The Zarr array ``(band, y, x)``, int16, not decoded.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._side = (int(array.chunks[1]), int(array.chunks[2]))
        self._blocks: OrderedDict[tuple[int, int], npt.NDArray[np.int16]] = OrderedDict()
        across = -(-array.shape[2] // self._side[1])
        block = max(array.shape[0] * self._side[0] * self._side[1] * array.dtype.itemsize, 1)
        # Two rows of chunks: a plot that lies across their border needs both.
        self._kept = int(np.clip(2 * across + 2, 4, max(_CACHE_BYTES // block, 4)))
        self.where = str(array.store_path)
        """Which array it is, for messages."""
        self.decoded = 0
        """How many chunks of all bands were decoded."""

    def read(self, box: PixelBox) -> npt.NDArray[np.int16]:
        """Return the stored numbers of a box."""
        out = np.empty((self._array.shape[0], box.rows, box.cols), dtype=self._array.dtype)
        high, wide = self._side
        for down in range(box.row // high, (box.row + box.rows - 1) // high + 1):
            for across in range(box.col // wide, (box.col + box.cols - 1) // wide + 1):
                chunk = PixelBox(down * high, across * wide, high, wide)
                common = box.intersect(chunk)
                if common is not None:
                    source, target = common.within(chunk).slices, common.within(box).slices
                    out[:, target[0], target[1]] = self._block(down, across)[:, source[0], source[1]]
        return out

    def _block(self, down: int, across: int) -> npt.NDArray[np.int16]:
        key = (down, across)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        rows, cols = PixelBox(down * self._side[0], across * self._side[1], *self._side).slices
        self._blocks[key] = self._array[:, rows, cols]
        self.decoded += 1
        if len(self._blocks) > self._kept:
            self._blocks.popitem(last=False)
        return self._blocks[key]


class BandStatistics:
    """Exact sums of the usual numbers of each band, and the range that they fill; missing ones do not count.

    A number is usual in a plot if it lies within `USUAL_STDS` standard deviations of the plot's median, by the plot's
    own 10 % and 90 % quantiles (a robust rule as those of Davies and Gather 1993, *The Identification of Multiple
    Outliers*, J. Am. Stat. Assoc. 88(423); quantiles instead of the median deviation, which of canopy with some soil
    in it sees the canopy only). So a bright sheet on less than a tenth of a plot counts for nothing.
    """

    def __init__(self, bands: int) -> None:
        self._count = np.zeros(bands, dtype=np.int64)
        self._sum = np.zeros(bands, dtype=np.int64)
        self._square = np.zeros(bands, dtype=np.int64)
        self._low = np.full(bands, np.inf)
        self._high = np.full(bands, -np.inf)

    def add(self, values: npt.NDArray[np.int16]) -> None:
        """Add the pixels of a plot ``(band, pixel)``."""
        known = values != FILL
        low, high = _usual_range(values, known.sum(axis=1))
        usual = known & (values >= low[:, None]) & (values <= high[:, None])
        wide = np.where(usual, values, 0).astype(np.int64)
        self._count += usual.sum(axis=1)
        self._sum += wide.sum(axis=1)
        self._square += (wide * wide).sum(axis=1)
        self._low, self._high = np.fmin(self._low, low), np.fmax(self._high, high)

    def scaled(self, scale: float) -> dict[str, npt.NDArray[np.float64]]:
        """Return ``mean``, ``std``, ``low`` and ``high``, each ``(band,)``, in units of the quantity.

        From ``low`` to ``high`` a number is usual in some plot. A band without numbers has mean 0, no limits and, as a
        constant one, standard deviation 1, so that standardising it is harmless.
        """
        count = np.maximum(self._count, 1)
        mean = self._sum / count
        std = np.sqrt(np.maximum(self._square / count - mean**2, 0.0)) * scale
        limits = {
            name: np.where(self._count > 0, limit * scale, -limit)
            for name, limit in (("low", self._low), ("high", self._high))
        }
        return {"mean": mean * scale, "std": np.where(std > 0.0, std, 1.0), **limits}


def _usual_range(
    values: npt.NDArray[np.int16], known: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the least and the largest usual number of a plot's pixels ``(band, pixel)``; NaN without any."""
    ordered = np.sort(values, axis=1)  # what is missing comes first
    missing = values.shape[1] - known
    low, middle, high = (
        np.take_along_axis(
            ordered, np.minimum(missing + (share * known).astype(np.int64), values.shape[1] - 1)[:, None], axis=1
        )[:, 0].astype(np.float64)
        for share in (0.1, 0.5, 0.9)
    )
    # Of a plot without noise, two flights still differ by a per cent; and no stored number by less than a step.
    std = np.maximum((high - low) / _TENTH_TO_TENTH, np.maximum(1.0, 0.01 * np.abs(middle)))
    middle[known == 0] = np.nan
    return middle - USUAL_STDS * std, middle + USUAL_STDS * std


def read_tiles(
    tiling: Tiling,
    reader: BlockReader,
    valid: npt.NDArray[np.bool_],
    statistics: BandStatistics,
    *,
    good: npt.NDArray[np.bool_],
) -> Iterator[npt.NDArray[np.int16]]:
    """Yield the stored numbers of each plot's windows ``(tile, band, ty, tx)``.

    Pixels outside the plot and invalid ones are missing.

    Parameters
    ----------
    tiling
        What to read.
    reader
        Where from.
    valid
        The cube's valid pixels ``(y, x)``.
    statistics
        Gets each pixel of a training window once; each pixel of any window where there is no training window.
    good
        The cube's good bands ``(band,)``, which every valid pixel has.

    Raises
    ------
    StoreError
        If a valid pixel lacks one: Zarr reads a chunk that is not there as missing.
    """
    training = any(tile.plot.fold == "train" for tile in tiling.tiles)
    for _, group in groupby(tiling.tiles, key=lambda tile: tile.plot.plot):
        tiles = list(group)
        plot = tiles[0].plot
        usable = plot.inside & valid[plot.box.slices]
        spectra = reader.read(plot.box)
        if any((spectra[band][usable] == FILL).any() for band in np.flatnonzero(good)):
            raise StoreError(
                f"'{reader.where}' has lost pixels of plot '{plot.plot}' since it was written; remove the cube and run "
                "ingest again"
            )
        spectra[:, ~usable] = FILL
        size = tiles[0].window.size
        out = np.full((len(tiles), spectra.shape[0], size, size), FILL, dtype=np.int16)
        seen = np.zeros_like(usable)
        for index, tile in enumerate(tiles):
            common = tile.window.box.intersect(plot.box)
            assert common is not None
            source, target = common.within(plot.box).slices, common.within(tile.window.box).slices
            out[index, :, target[0], target[1]] = spectra[:, source[0], source[1]]
            seen[source] = True
        if plot.fold == "train" or not training:
            statistics.add(spectra[:, seen & usable])
        yield out
