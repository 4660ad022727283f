"""What a campaign file says of its raw files, where they do not say it themselves."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from focus_core.config.settings import Settings


class Grid(Settings):
    """Where the pixels of a file lie, for files that do not say so themselves.

    Units are those of the CRS; for another camera without a CRS, pixels of the first camera's image, rows downwards.
    """

    x: float
    """Easting (or column) of the upper left corner."""
    y: float
    """Northing (or row) of the upper left corner."""
    pixel: float = Field(gt=0.0)
    """Side of a pixel."""


class LinearWavelengths(Settings):
    """Evenly spaced band centres, for sensors whose files name none."""

    first_nm: float = Field(gt=0.0)
    """Centre of the first band, nm."""
    last_nm: float = Field(gt=0.0)
    """Centre of the last band, nm."""


class RawFile(Settings):
    """One raw hyperspectral file with its references."""

    image: str
    """Path of the data or header file, or of a Zarr store."""
    white: str | None = None
    """Path of the white reference scan; with it, ``dark`` is needed too."""
    dark: str | None = None
    """Path of the dark reference scan."""
    panel_reflectance: float = Field(default=1.0, gt=0.0, le=1.0)
    """Reflectance of the white panel, unitless."""
    exposure_ms: float | None = Field(default=None, gt=0.0)
    """Exposure of the image, ms; with ``white_exposure_ms`` where the files do not say that they differ."""
    white_exposure_ms: float | None = Field(default=None, gt=0.0)
    """Exposure of the white reference, ms."""
    saturated: int | None = Field(default=None, ge=1)
    """Stored number at which the camera is full, e.g. 4095 for one of 12 bits; such pixels are missing. Without it,
    where there are references, the largest that the file's type holds."""
    scale: float | None = Field(default=None, gt=0.0)
    """Factor from stored numbers to the campaign's quantity, where the file does not say it."""
    variable: str | None = None
    """Name of the array inside a MATLAB, NetCDF or Zarr file; needed only where there are several."""
    background: float | None = None
    """Stored number that pixels beside the object have in every band, e.g. 0; such pixels are missing."""
    wavelengths: list[float] | LinearWavelengths | None = None
    """Band centres in nm, where the file names none; contradicting the file is refused."""
    grid: Grid | None = None
    """Georeference, where the file has none."""

    @model_validator(mode="after")
    def _both_references(self) -> Self:
        if (self.white is None) != (self.dark is None):
            missing = "white" if self.white is None else "dark"
            raise ValueError(f"has one reference only; add '{missing}', calibration needs both")
        if self.white is None and "panel_reflectance" in self.model_fields_set:
            raise ValueError("'panel_reflectance' counts with 'white' and 'dark' only; add them, or leave it out")
        exposures = (self.exposure_ms, self.white_exposure_ms)
        if exposures != (None, None) and (None in exposures or self.white is None):
            raise ValueError(
                "'exposure_ms' and 'white_exposure_ms' count with 'white' only, and both; give all or none"
            )
        return self


class RawCube(RawFile):
    """The files of all cameras that saw the same ground at once; mostly one."""

    other_cameras: list[RawFile] = Field(default_factory=list)
    """Files of further cameras, e.g. for SWIR; their bands join those of the first, on its grid."""


class EvenBands(Settings):
    """Evenly spaced bands."""

    first_nm: float = Field(gt=0.0)
    """Centre of the first band, nm."""
    last_nm: float = Field(gt=0.0, le=20_000.0)
    """Largest centre, nm."""
    step_nm: float = Field(ge=0.1)
    """Distance of the centres, nm."""


class ResampleTo(Settings):
    """Bands on which spectra are wanted, for example those of a model."""

    wavelengths: list[float] | EvenBands
    """Band centres, nm, increasing."""
    fwhm_nm: float | list[float]
    """Full width at half maximum of every band, or of each, nm."""

    @model_validator(mode="after")
    def _bands_increase(self) -> Self:
        nm, fwhm = self.bands()
        if len(nm) < 2 or not (np.isfinite(nm).all() and (np.diff(nm) > 0.0).all() and nm[0] > 0.0):
            raise ValueError("'wavelengths' must name two bands or more in increasing order, nm")
        if len(fwhm) != len(nm):
            raise ValueError(f"'fwhm_nm' holds {len(fwhm)} numbers for {len(nm)} bands")
        if not (np.isfinite(fwhm).all() and (fwhm > 0.0).all()):
            raise ValueError("'fwhm_nm' must be positive")
        return self

    def bands(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return centres and full widths at half maximum ``(band,)``, nm."""
        named = self.wavelengths
        if isinstance(named, EvenBands):
            count = max(int((named.last_nm - named.first_nm) / named.step_nm + 1e-6) + 1, 0)
            nm = named.first_nm + named.step_nm * np.arange(count, dtype=np.float64)
        else:
            nm = np.array(named, dtype=np.float64)
        widths = self.fwhm_nm if isinstance(self.fwhm_nm, list) else [self.fwhm_nm] * len(nm)
        return nm, np.array(widths, dtype=np.float64)
