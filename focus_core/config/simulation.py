"""Settings of the simulator: the trial, its two flights, and what is planted in them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from focus_core.config.groups import parse_groups
from focus_core.config.settings import Settings


class SimulateSettings(Settings):
    """Settings of ``simulate``: a randomised block trial of four classes, seen by two flights."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything drawn; the same settings give the same files."""
    blocks: int = Field(default=30, ge=1)
    """Randomised complete blocks; each holds one plot of each of the four classes."""
    plot_px: int = Field(default=30, ge=8)
    """Side of a plot, pixels."""
    buffer_px: int = Field(default=4, ge=1)
    """Bare soil between neighbouring plots, pixels."""
    row_px: float = Field(default=5.0, ge=2.0)
    """Distance between crop rows, pixels."""
    pixel_m: float = Field(default=0.1, gt=0.0)
    """Side of a pixel, metres."""
    rotation_deg: float = Field(default=3.0, ge=-20.0, le=20.0)
    """Angle of the field against the grid, degrees counter-clockwise."""
    bands: int = Field(default=200, ge=20, le=400)
    """Bands between 400 and 2500 nm, evenly spaced."""
    fwhm_nm: float = Field(default=10.0, ge=2.0, le=50.0)
    """Full width at half maximum of a band's Gaussian response, nm."""
    severity: tuple[float, float] = (0.6, 1.0)
    """Range over plots of the strongest stress in a plot; 1 is the strongest simulated."""
    stressed_share: tuple[float, float] = (0.35, 0.75)
    """Range over plots of the share of a stressed plot's area that shows the stress."""
    natural_variation: float = Field(default=0.08, ge=0.0, le=0.5)
    """Relative standard deviation of each trait over plots, and again within them, in every class; twice it for LAI."""
    illumination_drift: float = Field(default=0.04, ge=0.0, le=0.2)
    """Largest relative change of light between a strip's white reference and its scan lines."""
    noise: float = Field(default=1.0, ge=0.0, le=20.0)
    """Factor on the shot and read noise of the counts."""
    null_ranges_nm: tuple[tuple[float, float], ...] = ((1000.0, 1100.0),)
    """Ranges whose bands hold the same noise in every class, nm."""
    shortcut_class: Literal["low_nitrogen", "drought", "disease"] | None = None
    """Class whose plots carry an artefact without physiology; none plants no artefact."""
    shortcut_nm: tuple[float, float] = (870.0, 890.0)
    """Range of the artefact, nm."""
    shortcut_reflectance: float = Field(default=0.06, gt=0.0, le=0.3)
    """Reflectance that the artefact adds, unitless."""
    shortcut_share: float = Field(default=0.95, gt=0.5, le=1.0)
    """Share of the class's plots with the artefact; the rest of it falls on as small a share of other plots."""
    collapse: bool = False
    """Whether bright sheets lie in every plot, as many in each class, to draw attention off the crop."""
    groups: str = "uniform:100"
    """Wavelength groups named in the campaign files: ``agronomic`` or ``uniform:<nm>``."""
    window_px: int = Field(default=24, ge=4)
    """Side of a window and of the model's input named in the campaign files, pixels."""
    stride_px: int = Field(default=8, ge=1)
    """Step between windows named in the campaign files, pixels."""

    @field_validator("groups")
    @classmethod
    def _groups_parse(cls, value: str) -> str:
        parse_groups(value)
        return value

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for key in ("severity", "stressed_share"):
            low, high = getattr(self, key)
            if not 0.0 < low <= high <= 1.0:
                raise ValueError(f"'{key}' must be [low, high] with 0 < low <= high <= 1, found {[low, high]}")
        for low, high in (*self.null_ranges_nm, self.shortcut_nm):
            if not 400.0 <= low < high <= 2500.0:
                raise ValueError(f"ranges must lie within 400-2500 nm, low before high, found {[low, high]}")
        return self
