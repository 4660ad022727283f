"""One raw file with everything that was decided about it: bands, scale and place.

Knows the campaign file and the readers; knows nothing of the flight's other files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio import Affine

from focus_core.config import CampaignFile, RawFile
from focus_core.cubes.axes import PIXELS, PixelGrid
from focus_core.cubes.calibrate import Calibration, with_references, without_references
from focus_core.cubes.crs import campaign_crs, same_crs
from focus_core.cubes.readers import OpenedCube, open_raw
from focus_core.cubes.wavelengths import Wavelengths, decide_wavelengths

Key = tuple[int | str, ...]
"""Where in the campaign file a raw file is named."""


@dataclass(frozen=True)
class Source:
    """An opened raw file."""

    cube: OpenedCube
    references: tuple[OpenedCube, ...]
    grid: PixelGrid
    wavelengths: Wavelengths
    calibration: Calibration

    def lines(self, rows: slice | npt.NDArray[np.int64]) -> Any:
        """Return rows of the file as a dask array ``(band, y, x)``, float32, of the quantity, bands sorted.

        They are chosen before they are calibrated, because Dask would read all others too.
        """
        return self.calibration.apply(self.cube.data[:, rows, :])

    @property
    def files(self) -> tuple[Path, ...]:
        """Data and headers, references included."""
        return tuple(path for cube in (self.cube, *self.references) for path in cube.files)

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


def open_source(file: CampaignFile, where: Key, entry: RawFile, first: PixelGrid | None = None) -> Source:
    """Open a raw file and its references, and decide what they mean.

    Parameters
    ----------
    file
        The campaign.
    where
        Where in it the file is named.
    entry
        What it says of the file.
    first
        Grid of the first camera, for the files of others.

    Raises
    ------
    CampaignError
        If the campaign file contradicts the georeference, quantity or calibration.
    CubeError
        If the file contradicts itself or its references.
    MissingInputError
        If a file does not exist.
    """
    campaign = file.campaign
    cube = open_raw(file.resolve((*where, "image"), entry.image), variable=entry.variable)
    if cube.quantity not in (None, campaign.quantity):
        raise file.error(
            ("quantity",),
            f"is {campaign.quantity}, but {cube.path.name} holds {cube.quantity}; write what the file holds",
        )
    wavelengths = decide_wavelengths(cube, entry.wavelengths)
    grid = _grid(file, where, entry, cube, first)
    if entry.white is None or entry.dark is None:
        calibration = without_references(cube, entry, wavelengths.order, campaign)
        return Source(cube, (), grid, wavelengths, calibration)
    _refuse_calibrated(file, where, entry, cube)
    white, dark = (
        open_raw(file.resolve((*where, key), text), variable=entry.variable)
        for key, text in (("white", entry.white), ("dark", entry.dark))
    )
    calibration = with_references(cube, white, dark, entry, wavelengths.order)
    return Source(cube, (white, dark), grid, wavelengths, calibration)


def _refuse_calibrated(file: CampaignFile, where: Key, entry: RawFile, cube: OpenedCube) -> None:
    if file.campaign.quantity != "reflectance":
        raise file.error((*where, "white"), "white and dark references give reflectance; write 'quantity: reflectance'")
    if cube.quantity is not None:
        raise file.error(
            (*where, "white"),
            f"would calibrate {cube.path.name} twice, which holds {cube.quantity} ({cube.gain_source}); leave 'white' "
            "and 'dark' out, or correct its header if it holds counts",
        )
    if entry.scale is not None:
        raise file.error((*where, "scale"), "cannot stand beside references, which give the scale; leave it out")


def _grid(file: CampaignFile, where: Key, entry: RawFile, cube: OpenedCube, first: PixelGrid | None) -> PixelGrid:
    """Decide where a file lies; the campaign's CRS and the file's must be one."""
    crs, transform = campaign_crs(file), cube.transform
    if crs is None and first is not None and transform is None:
        return _on_pixels_of(first, file, where, entry, cube)
    if entry.grid is not None:
        own = Affine(entry.grid.pixel, 0.0, entry.grid.x, 0.0, -entry.grid.pixel, entry.grid.y)
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


def _on_pixels_of(first: PixelGrid, file: CampaignFile, where: Key, entry: RawFile, cube: OpenedCube) -> PixelGrid:
    """Without a CRS, another camera's pixels are placed on those of the first: columns to the right, rows down."""
    if entry.grid is not None:
        return PixelGrid(cube.shape, Affine(entry.grid.pixel, 0.0, entry.grid.x, 0.0, entry.grid.pixel, entry.grid.y))
    if cube.shape != first.shape:
        raise file.error(
            (*where, "image"),
            f"{cube.path.name} has {cube.shape}, the first camera {first.shape}; add 'grid': where its upper left "
            "corner lies and how large its pixels are, in pixels of the first",
        )
    return first
