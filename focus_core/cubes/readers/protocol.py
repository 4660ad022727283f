"""What every reader of raw hyperspectral files hands over.

Knows the shape of an opened file; does not decide what its numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from focus_core.cubes.axes import Shape2d
from focus_core.errors import CubeError

READ_PX = 256
"""Side of the pieces in which a file is read, pixels; all its bands at once."""


@dataclass(frozen=True, kw_only=True)
class OpenedCube:
    """A raw file, opened but not read."""

    path: Path
    files: tuple[Path, ...]
    """Every file that holds part of it: data and header."""
    data: Any
    """Dask array ``(band, y, x)`` of stored numbers, in the file's own band order and dtype."""
    wavelength: npt.NDArray[np.float64] | None = None
    """Band centres ``(band,)`` as the file writes them; none where it names none."""
    wavelength_units: str | None = None
    """Unit as the file writes it."""
    wavelength_source: str = "wavelength"
    """Where in the file the band centres stand."""
    fwhm: npt.NDArray[np.float64] | None = None
    """Full width at half maximum ``(band,)``, same unit as the band centres."""
    good_band: npt.NDArray[np.bool_] | None = None
    """``(band,)``: what the file's bad-band list leaves; none where it has no list."""
    fill: float | None = None
    """Stored number of a missing value."""
    limits: tuple[float, float] | None = None
    """Least and largest stored number of what was measured; beyond, it is missing."""
    gain: npt.NDArray[np.float64] | None = None
    """Factor ``(band,)`` from stored numbers to the quantity; none where the file names none."""
    offset: npt.NDArray[np.float64] | None = None
    """Added after the factor, ``(band,)``."""
    gain_source: str = "none in the file"
    """Where in the file the factor stands."""
    quantity: str | None = None
    """What the numbers mean after the factor, where the file names it: reflectance or radiance."""
    exposure: float | None = None
    """Exposure as the file writes it, mostly ms; to be compared with that of files of the same camera."""
    transform: Any = None
    """``rasterio.Affine`` of the upper left pixel corner; none where the file has no georeference."""
    crs: Any = None
    """``rasterio.crs.CRS``, where the file names one."""
    notes: tuple[str, ...] = field(default=())
    """Choices that were made because the file was silent."""

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.data.shape[0])

    @property
    def shape(self) -> Shape2d:
        """Extent in pixels."""
        return Shape2d(rows=int(self.data.shape[1]), cols=int(self.data.shape[2]))


def same_folder(found: Path, named: Path) -> Path:
    """Return a companion file, unless it is a link to elsewhere: the campaign file's folder confines what is read.

    Raises
    ------
    CubeError
        If it lies in another folder than the file that was named.
    """
    if found.resolve().parent != named.resolve().parent:
        raise CubeError(f"{found}: a link out of its folder; keep header and data together")
    return found
