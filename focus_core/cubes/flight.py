"""All raw files of a campaign as one lazy cube: opened, calibrated, placed on one grid and judged.

Knows the campaign file and the strips; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from focus_core.config import CampaignFile
from focus_core.cubes.axes import PixelGrid
from focus_core.cubes.mosaic import Part, mosaic, place
from focus_core.cubes.quality import BandQuality, judge_bands, typical
from focus_core.cubes.source import Source
from focus_core.cubes.strip import SAME_BAND_NM, Strip, open_strip, resampled, sample_lines
from focus_core.errors import CubeError

_LARGEST_MEDIAN = 1.2
"""Reflectance of a whole scene; single pixels may glint, and a panel may be taken as brighter than it is."""
_LEAST_BRIGHTEST = 0.005
"""Clear water reflects more in the blue."""


@dataclass(frozen=True)
class LeftOut:
    """A damaged cube of a campaign."""

    name: str
    """File name of its first camera's image."""
    reason: str
    files: tuple[Path, ...]
    """What the campaign file names of it: a repaired one makes another flight."""


@dataclass(frozen=True)
class Flight:
    """A campaign's cube, not read yet."""

    file: CampaignFile
    strips: tuple[Strip, ...]
    grid: PixelGrid
    data: Any
    """Dask array ``(band, y, x)``, float32, of the campaign's quantity; NaN where missing."""
    nm: npt.NDArray[np.float64]
    """Band centres ``(band,)``, nm, increasing."""
    fwhm_nm: npt.NDArray[np.float64]
    """``(band,)``, nm; NaN where the files name none."""
    leaked: npt.NDArray[np.float64] | None
    """Largest share of each band ``(band,)`` from bands of another wavelength group; none if not resampled."""
    left_out: tuple[LeftOut, ...] = ()
    """Damaged cubes; what they alone would show lies beside the grid, or is missing."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every raw file with what was decided about it."""
        return tuple(source for strip in self.strips for source in strip.sources)

    @cached_property
    def quality(self) -> BandQuality:
        """Verdict on every band, from sampled lines; `CubeError` if none is good."""
        return _judged(self.strips, self.file)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every raw file, data and headers, references included, and what is named of the cubes that are left out."""
        named = [source.files for source in self.sources] + [cube.files for cube in self.left_out]
        return tuple(dict.fromkeys(chain.from_iterable(named)))


def open_flight(file: CampaignFile, *, chunk_px: int, leave_out_damaged: bool = False) -> Flight:
    """Open all cubes of a campaign lazily; only references are read, and sampled lines where bands are resampled.

    Parameters
    ----------
    file
        The campaign.
    chunk_px
        Side of a chunk of the cube, pixels; all bands of it are one piece of work.
    leave_out_damaged
        Whether the flight is opened without cubes that contradict themselves or their references, or cannot be read
        at sampled lines.

    Raises
    ------
    CampaignError
        If the campaign file contradicts a cube's georeference or calibration.
    CubeError
        If a cube contradicts itself, its references or the other cubes; if damaged ones may be left out, only where
        none is left.
    MissingInputError
        If a file does not exist.
    """
    strips, left_out = _strips(file, leave_out_damaged=leave_out_damaged)
    first = strips[0]
    for other in strips[1:]:
        _refuse_other_bands(first, other)
    grid, boxes = place([(strip.name, strip.grid) for strip in strips])
    parts = [Part(strip.data, box) for strip, box in zip(strips, boxes, strict=True)]
    leaks = [strip.leaked for strip in strips if strip.leaked is not None]
    return Flight(
        file=file,
        strips=strips,
        grid=grid,
        data=mosaic(parts, grid.shape, chunk_px=chunk_px),
        nm=first.nm,
        fwhm_nm=first.fwhm_nm,
        leaked=np.maximum.reduce(leaks) if leaks else None,
        left_out=left_out,
    )


def _strips(file: CampaignFile, *, leave_out_damaged: bool) -> tuple[tuple[Strip, ...], tuple[LeftOut, ...]]:
    strips: list[Strip] = []
    left_out: list[LeftOut] = []
    for index, entry in enumerate(file.campaign.cubes):
        try:
            strip = _on_asked_bands(open_strip(file, index), file)
            if leave_out_damaged:
                sample_lines((strip,))  # some files show only there, at the last of them, that they were cut off
            strips.append(strip)
        except CubeError as error:
            if not leave_out_damaged:
                raise
            left_out.append(LeftOut(Path(entry.image).name, str(error), tuple(file.raw_files(index))))
    if not strips:
        told = "\n".join(f"{item.name}: {item.reason}" for item in left_out)
        raise CubeError(f"{file.path}: none of {len(left_out)} cubes can be used; copy them again:\n{told}")
    return tuple(strips), tuple(left_out)


def _judged(strips: Sequence[Strip], file: CampaignFile) -> BandQuality:
    good = np.logical_and.reduce([strip.good for strip in strips])
    sample = sample_lines(strips)
    try:
        found = judge_bands(sample, strips[0].nm, good, file.campaign.bad_ranges_nm)
    except CubeError as error:
        raise CubeError(f"{file.path}: {error}") from error
    if file.campaign.quantity == "reflectance":
        _refuse_other_scale(file, typical(sample, found.good))
    return found


def _refuse_other_scale(file: CampaignFile, level: npt.NDArray[np.float64] | None) -> None:
    """Refuse percent, counts, and reflectance that was scaled twice, of which the store would keep next to nothing."""
    if level is None:
        return
    middle, largest = float(np.median(level)), float(level.max())
    if middle > _LARGEST_MEDIAN or largest < _LEAST_BRIGHTEST:
        raise file.error(
            ("cubes",),
            f"after calibration a band has {middle:.3g} in the median, and the brightest {largest:.3g}, which is no "
            "reflectance between 0 and 1 (percent, or scaled twice?); correct 'scale', or the scale in the files",
        )


def _on_asked_bands(strip: Strip, file: CampaignFile) -> Strip:
    """Resample a strip where the campaign file says so, from the bands that are good in it."""
    target = file.campaign.resample_to
    if target is None:
        return strip
    return resampled(strip, target, file.campaign.wavelength_groups, _judged((strip,), file).good)


def _refuse_other_bands(first: Strip, other: Strip) -> None:
    ours, theirs = first.nm, other.nm
    if len(ours) != len(theirs) or np.abs(ours - theirs).max() > SAME_BAND_NM:
        raise CubeError(
            f"{other.sources[0].cube.path}: {len(theirs)} bands of {theirs[0]:g} to {theirs[-1]:g} nm, but "
            f"{first.name} has {len(ours)} of {ours[0]:g} to {ours[-1]:g} nm; "
            "the cubes of a campaign share their bands, or are resampled with 'resample_to'"
        )
