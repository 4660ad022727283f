"""What one entry of the campaign file gives: the bands of all its cameras on one grid, in order of wavelength.

Joins cameras and resamples bands, lazily; knows nothing of the flight's other strips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from focus_core.config import CampaignFile, ResampleTo, WavelengthGroups
from focus_core.cubes.axes import PixelGrid
from focus_core.cubes.mosaic import nearest
from focus_core.cubes.resample import Resampling, resampling
from focus_core.cubes.source import Source, open_source
from focus_core.errors import CubeError

SAME_BAND_NM = 0.01
"""Bands this near to each other are one, nm."""
_SAMPLED_PIXELS = 65_536
_RUN_LINES = 4


@dataclass(frozen=True)
class Strip:
    """Bands on a grid, not read yet."""

    sources: tuple[Source, ...]
    """One file for each camera."""
    grid: PixelGrid
    lines: Callable[[slice], Any]
    """Returns rows as a dask array ``(band, y, x)``, float32, of the campaign's quantity; NaN where missing."""
    nm: npt.NDArray[np.float64]
    """Band centres ``(band,)``, nm, increasing."""
    fwhm_nm: npt.NDArray[np.float64]
    """``(band,)``, nm; NaN where the file names none."""
    good: npt.NDArray[np.bool_]
    """``(band,)``: what the files' bad-band lists leave."""
    leaked: npt.NDArray[np.float64] | None = None
    """Share of each band ``(band,)`` that comes from bands of another wavelength group; none if not resampled."""

    @property
    def data(self) -> Any:
        """All rows, ``(band, y, x)``."""
        return self.lines(slice(None))

    @property
    def name(self) -> str:
        """Name of the first camera's file."""
        return self.sources[0].cube.path.name


def open_strip(file: CampaignFile, index: int) -> Strip:
    """Open an entry of the campaign file lazily.

    Raises
    ------
    CampaignError
        If the campaign file contradicts a file.
    CubeError
        If a file contradicts itself or its references, or two cameras measure the same band or do not overlap.
    MissingInputError
        If a file does not exist.
    """
    entry = file.campaign.cubes[index]
    first = open_source(file, ("cubes", index), entry)
    others = [
        open_source(file, ("cubes", index, "other_cameras", number), other, first.grid)
        for number, other in enumerate(entry.other_cameras)
    ]
    sources = (first, *others)
    nm, fwhm, good = (
        np.concatenate(parts)
        for parts in zip(*((s.wavelengths.nm, s.wavelengths.fwhm_nm, _listed_good(s)) for s in sources), strict=True)
    )
    order = np.argsort(nm, kind="stable")
    _refuse_same_bands(sources, nm[order])
    for other in others:
        if not nearest(other.grid, first.grid).inside.any():
            raise CubeError(f"{other.cube.path}: lies beside {first.cube.path.name}; correct its 'grid'")
    lines = partial(_joined, sources, order) if others else first.lines
    return Strip(sources, first.grid, lines, nm[order], fwhm[order], good[order])


def _joined(sources: Sequence[Source], order: npt.NDArray[np.int64], rows: slice) -> Any:
    """Lay other cameras on the first one's grid, each pixel as the nearest one measured it, and sort the bands."""
    first, *others = sources
    layers = [first.lines(rows)]
    for other in others:
        under = nearest(other.grid, first.grid)
        values = other.lines(under.rows[rows])[:, :, under.cols]
        layers.append(da.where(under.inside[rows], values, np.float32(np.nan)))
    chunks = layers[0].chunks[1:]
    return da.concatenate([layer.rechunk((-1, *chunks)) for layer in layers]).rechunk({0: -1})[order]


def _listed_good(source: Source) -> npt.NDArray[np.bool_]:
    listed, order = source.cube.good_band, source.wavelengths.order
    return np.ones(len(order), dtype=np.bool_) if listed is None else listed[order]


def _refuse_same_bands(sources: Sequence[Source], nm: npt.NDArray[np.float64]) -> None:
    same = np.diff(nm) <= SAME_BAND_NM
    if len(sources) > 1 and same.any():
        raise CubeError(
            f"{sources[0].cube.path}: several cameras have bands at {nm[1:][same][:5].tolist()} nm; "
            "leave them out of one camera's file"
        )


def resampled(strip: Strip, target: ResampleTo, groups: WavelengthGroups, good: npt.NDArray[np.bool_]) -> Strip:
    """Return the strip on other bands.

    Parameters
    ----------
    strip
        The strip on its own bands.
    target
        The bands that are asked for.
    groups
        Wavelength groups between which leakage is counted.
    good
        Bands of the strip ``(band,)`` that may be used.

    Raises
    ------
    CubeError
        If the strip does not measure a band that is asked for.
    """
    nm, fwhm = target.bands()
    found = resampling(strip.nm, strip.fwhm_nm, good, nm, fwhm, name=str(strip.sources[0].cube.path))
    every = np.ones(len(nm), dtype=np.bool_)
    return replace(
        strip,
        lines=partial(_resampled, strip.lines, found),
        nm=nm,
        fwhm_nm=found.fwhm_nm,
        good=every,
        leaked=found.leaked(groups.of_bands(strip.nm, good), groups.of_bands(nm, every)),
    )


def _resampled(lines: Callable[[slice], Any], found: Resampling, rows: slice) -> Any:
    data = lines(rows)
    chunks = ((len(found.fwhm_nm),), *data.chunks[1:])
    return data.map_blocks(found.apply, dtype=np.float32, chunks=chunks, meta=np.empty((0, 0, 0), np.float32))


def sample_lines(strips: Sequence[Strip]) -> npt.NDArray[np.float32]:
    """Read whole lines spread evenly over the strips ``(line, band, x)``, padded with NaN to one width."""
    budget = max(_SAMPLED_PIXELS // len(strips), 1)
    lines = []
    for strip in strips:
        shape = strip.grid.shape
        count = int(np.clip(budget // shape.cols, 1, shape.rows))
        lines += [np.moveaxis(strip.lines(run).compute(), 0, 1) for run in _runs(shape.rows, count)]
    width = max(values.shape[2] for values in lines)
    padded = [
        np.pad(values, ((0, 0), (0, 0), (0, width - values.shape[2])), constant_values=np.nan) for values in lines
    ]
    return np.concatenate(padded)


def _runs(rows: int, count: int) -> list[slice]:
    """Spread ``count`` lines over all of them, a few neighbours at a time: of a slice, Dask reads these lines alone."""
    if count == rows:
        return [slice(0, rows)]
    length = min(_RUN_LINES, count)
    starts = np.linspace(0, rows - length, count // length).round().astype(np.int64)
    return [slice(start, start + length) for start in starts.tolist()]
