"""All raw files of a campaign as one lazy cube: opened, calibrated, placed on one grid and judged.

Knows the campaign file and the readers; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.errors import CRSError

from focus_core.config import Campaign, CampaignFile
from focus_core.config import RawCube as CubeEntry
from focus_core.cubes.axes import PIXELS, PixelGrid
from focus_core.cubes.calibrate import Calibration, with_references, without_references
from focus_core.cubes.mosaic import Part, mosaic, place
from focus_core.cubes.quality import BandQuality, judge_bands
from focus_core.cubes.readers import OpenedCube, open_raw
from focus_core.cubes.wavelengths import Wavelengths, decide_wavelengths
from focus_core.errors import CubeError

_SAMPLED_PIXELS = 65_536
_SAME_BAND_NM = 0.01


@dataclass(frozen=True)
class Source:
    """One raw file with everything that was decided about it."""

    cube: OpenedCube
    references: tuple[OpenedCube, ...]
    grid: PixelGrid
    wavelengths: Wavelengths
    calibration: Calibration

    def describe(self) -> dict[str, Any]:
        """Return the decisions in words, for the store's attributes."""
        return {
            "file": self.cube.path.name,
            "rows": self.cube.shape.rows,
            "cols": self.cube.shape.cols,
            "bands": self.cube.bands,
            "wavelengths": self.wavelengths.decision,
            "scale": self.calibration.decision,
            "bands_sorted": not self.wavelengths.sorted_in_file,
            "notes": list(self.cube.notes),
        }


@dataclass(frozen=True)
class Flight:
    """A campaign's cube, not read yet."""

    sources: tuple[Source, ...]
    grid: PixelGrid
    data: Any
    """Dask array ``(band, y, x)``, float32, of the campaign's quantity; NaN where missing."""
    wavelengths: Wavelengths
    quality: BandQuality

    @property
    def files(self) -> tuple[Path, ...]:
        """Every raw file, data and headers, references included."""
        cubes = [cube for source in self.sources for cube in (source.cube, *source.references)]
        return tuple(dict.fromkeys(path for cube in cubes for path in cube.files))


def open_flight(file: CampaignFile, *, chunk_px: int) -> Flight:
    """Open all cubes of a campaign lazily; only references and some sampled lines are read.

    Parameters
    ----------
    file
        The campaign.
    chunk_px
        Side of a chunk of the cube, pixels; all bands of it are one piece of work.

    Raises
    ------
    CampaignError
        If the campaign file contradicts a cube's georeference or calibration.
    CubeError
        If a cube contradicts itself, its references or the other cubes.
    MissingInputError
        If a file does not exist.
    """
    campaign = file.campaign
    sources = tuple(_open_source(file, index, entry) for index, entry in enumerate(campaign.cubes))
    first = sources[0]
    for other in sources[1:]:
        _refuse_other_bands(first, other)
    grid, boxes = place([(source.cube.path.name, source.grid) for source in sources])
    parts = [Part(source.calibration.apply(source.cube.data), box) for source, box in zip(sources, boxes, strict=True)]
    listed = [source.cube.good_band for source in sources]
    declared = [
        good[source.wavelengths.order] for good, source in zip(listed, sources, strict=True) if good is not None
    ]
    bands = len(first.wavelengths.nm)
    quality = judge_bands(
        _sample(sources),
        first.wavelengths.nm,
        np.logical_and.reduce(declared) if declared else np.ones(bands, dtype=np.bool_),
        campaign.bad_ranges_nm,
    )
    return Flight(sources, grid, mosaic(parts, grid.shape, chunk_px=chunk_px), first.wavelengths, quality)


def campaign_crs(file: CampaignFile) -> Any:
    """Return the campaign's ``rasterio.crs.CRS``, or none where positions are pixels.

    Raises
    ------
    CampaignError
        If the text names no CRS.
    """
    text = file.campaign.crs
    try:
        return None if text is None else CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise file.error(("crs",), f"'{text}' is no CRS ({error}); write one such as EPSG:32633") from error


def _open_source(file: CampaignFile, index: int, entry: CubeEntry) -> Source:
    campaign, where = file.campaign, ("cubes", index)
    cube = open_raw(file.resolve((*where, "image"), entry.image), variable=entry.variable)
    if cube.quantity not in (None, campaign.quantity):
        raise file.error(
            ("quantity",),
            f"is {campaign.quantity}, but {cube.path.name} holds {cube.quantity}; write what the file holds",
        )
    wavelengths = decide_wavelengths(cube, entry.wavelengths)
    grid = _grid(file, index, entry, cube)
    if entry.white is None or entry.dark is None:
        calibration = without_references(cube, entry, wavelengths.order, campaign)
        return Source(cube, (), grid, wavelengths, calibration)
    _refuse_calibrated(file, index, entry, campaign)
    white, dark = (
        open_raw(file.resolve((*where, key), text), variable=entry.variable)
        for key, text in (("white", entry.white), ("dark", entry.dark))
    )
    calibration = with_references(
        cube,
        white,
        dark,
        wavelengths.order,
        panel_reflectance=entry.panel_reflectance,
        background=entry.background,
    )
    return Source(cube, (white, dark), grid, wavelengths, calibration)


def _refuse_calibrated(file: CampaignFile, index: int, entry: CubeEntry, campaign: Campaign) -> None:
    if campaign.quantity != "reflectance":
        raise file.error(
            ("cubes", index, "white"), "white and dark references give reflectance; write 'quantity: reflectance'"
        )
    if entry.scale is not None:
        raise file.error(
            ("cubes", index, "scale"), "cannot stand beside references, which give the scale; leave it out"
        )


def _grid(file: CampaignFile, index: int, entry: CubeEntry, cube: OpenedCube) -> PixelGrid:
    """Decide where a file lies; the campaign's CRS and the file's must be one."""
    crs, transform, where = campaign_crs(file), cube.transform, ("cubes", index)
    if entry.grid is not None:
        own = type(PIXELS)(entry.grid.pixel, 0.0, entry.grid.x, 0.0, -entry.grid.pixel, entry.grid.y)
        if transform is not None and not own.almost_equals(transform, precision=1e-3):
            raise file.error((*where, "grid"), f"contradicts {cube.path.name}, which is georeferenced; leave it out")
        transform = own
    if crs is None:
        if transform is not None:
            found = cube.crs.to_string() if cube.crs else "an unnamed CRS"
            raise file.error(("crs",), f"is null, but {cube.path.name} is georeferenced in {found}; name the CRS")
        if len(file.campaign.cubes) > 1:
            raise file.error(("crs",), "is null, but several cubes need positions; name the CRS, give each a 'grid'")
        return PixelGrid(cube.shape, PIXELS)
    if transform is None:
        raise file.error((*where, "image"), f"{cube.path.name} has no georeference; add 'grid' or write 'crs: null'")
    if cube.crs is not None and not same_crs(crs, cube.crs):
        raise file.error(("crs",), f"is {crs.to_string()}, but {cube.path.name} lies in {cube.crs.to_string()[:80]}")
    return PixelGrid(cube.shape, transform, crs)


def same_crs(one: Any, other: Any) -> bool:
    """Return whether two CRS mean the same, however their names are written."""
    if one == other:
        return True
    codes = [crs.to_epsg(confidence_threshold=25) for crs in (one, other)]
    if None not in codes:
        return bool(codes[0] == codes[1])
    return bool(one.to_dict(projjson=False) == other.to_dict(projjson=False))


def _refuse_other_bands(first: Source, other: Source) -> None:
    ours, theirs = first.wavelengths.nm, other.wavelengths.nm
    if len(ours) != len(theirs) or np.abs(ours - theirs).max() > _SAME_BAND_NM:
        raise CubeError(
            f"{other.cube.path}: {len(theirs)} bands of {theirs[0]:g} to {theirs[-1]:g} nm, but "
            f"{first.cube.path.name} has {len(ours)} of {ours[0]:g} to {ours[-1]:g} nm; "
            "the cubes of a campaign share their bands"
        )


def _sample(sources: Sequence[Source]) -> npt.NDArray[np.float32]:
    """Read whole lines spread evenly over the files ``(line, band, x)``, padded with NaN to one width."""
    budget = max(_SAMPLED_PIXELS // len(sources), 1)
    lines = []
    for source in sources:
        shape = source.cube.shape
        count = int(np.clip(budget // shape.cols, 1, shape.rows))
        rows = np.unique(np.linspace(0, shape.rows - 1, count).round().astype(np.int64))
        values = source.calibration.apply(source.cube.data[:, rows, :]).compute()
        lines.append(np.moveaxis(values, 0, 1))
    width = max(values.shape[2] for values in lines)
    padded = [
        np.pad(values, ((0, 0), (0, 0), (0, width - values.shape[2])), constant_values=np.nan) for values in lines
    ]
    return np.concatenate(padded)
