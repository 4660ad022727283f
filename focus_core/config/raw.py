"""What a campaign file says of its raw files, where they do not say it themselves."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from focus_core.config.settings import Settings


class Grid(Settings):
    """Where the pixels of a file lie, for files that do not say so themselves."""

    x: float
    """Easting of the upper left corner, units of the CRS."""
    y: float
    """Northing of the upper left corner, units of the CRS."""
    pixel: float = Field(gt=0.0)
    """Side of a pixel, units of the CRS."""


class LinearWavelengths(Settings):
    """Evenly spaced band centres, for sensors whose files name none."""

    first_nm: float = Field(gt=0.0)
    """Centre of the first band, nm."""
    last_nm: float = Field(gt=0.0)
    """Centre of the last band, nm."""


class RawCube(Settings):
    """One raw hyperspectral file with its references."""

    image: str
    """Path of the data or header file, or of a Zarr store."""
    white: str | None = None
    """Path of the white reference scan; with it, ``dark`` is needed too."""
    dark: str | None = None
    """Path of the dark reference scan."""
    panel_reflectance: float = Field(default=1.0, gt=0.0, le=1.0)
    """Reflectance of the white panel, unitless."""
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
        return self
