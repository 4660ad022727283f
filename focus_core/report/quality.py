"""What the cube itself says: which bands are bad and why, how much of the field was measured, how it looks.

Knows ``cube.zarr``; does not know the model.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import image

_COMPOSITES = (
    ("True colour", (650.0, 560.0, 470.0), "About what an eye would see."),
    (
        "False colour: near infrared, red and green",
        (850.0, 650.0, 560.0),
        "Leaves throw back near infrared, so dense green plants look bright red, thin or stressed ones paler, "
        "and bare soil grey or bluish.",
    ),
)
"""Name, wavelengths shown as red, green and blue, and what a reader sees in them."""
_NEAR_NM = 30.0
"""A band further off does not stand for the colour."""
_LONGEST_PX = 900
_STRETCH = (2.0, 98.0)
"""Percentiles that become black and full brightness."""


@dataclass(frozen=True, kw_only=True)
class BadRange:
    """Neighbouring bands that are bad for one reason."""

    lo_nm: float
    hi_nm: float
    bands: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class QuickLook:
    """A small picture of the field."""

    uri: str
    """The PNG as a ``data:`` URI."""
    name: str
    meaning: str
    """What a reader sees in it, in plain words."""
    nm: tuple[float, ...]
    """Wavelengths shown as red, green and blue."""


def bad_ranges(cube: xr.Dataset) -> list[BadRange]:
    """Return the bad bands, neighbours with one reason together."""
    good, nm = cube["good_band"].to_numpy(), cube["wavelength"].to_numpy()
    reasons = _reasons(cube)
    found: list[BadRange] = []
    previous = -2
    for band in np.flatnonzero(~good):
        value = float(nm[band])
        if band == previous + 1 and found[-1].reason == reasons[band]:
            found[-1] = BadRange(lo_nm=found[-1].lo_nm, hi_nm=value, bands=found[-1].bands + 1, reason=reasons[band])
        else:
            found.append(BadRange(lo_nm=value, hi_nm=value, bands=1, reason=reasons[band]))
        previous = int(band)
    return found


def _reasons(cube: xr.Dataset) -> list[str]:
    """Return why each band is bad, without the figures that differ from band to band."""
    reasons = ["reason not recorded"] * cube.sizes["band"]
    for entry in cube.attrs.get("bad_bands", []):
        reasons[entry["band"]] = str(entry["reason"]).split(":")[0]
    return reasons


def valid_share(cube: xr.Dataset) -> float:
    """Return the share of the cube's pixels that were measured."""
    return float(cube["valid"].mean())


def quick_looks(cube: xr.Dataset) -> list[QuickLook]:
    """Render the field in true and in false colour, as far as the sensor has bands for them.

    A sensor without any of these bands is shown in three evenly spaced good ones. Each colour is stretched between its
    2nd and 98th percentile; pixels without a measurement are transparent.
    """
    nm = np.where(cube["good_band"].to_numpy(), cube["wavelength"].to_numpy(), np.nan)
    step = max(1, -(-max(cube.sizes["y"], cube.sizes["x"]) // _LONGEST_PX))
    small = cube.isel(y=slice(None, None, step), x=slice(None, None, step))
    found = []
    for name, wanted, meaning in _COMPOSITES:
        distance = np.abs(nm[:, None] - np.array(wanted))
        if (np.nanmin(distance, axis=0) <= _NEAR_NM).all():
            found.append(_picture(small, nm, np.nanargmin(distance, axis=0), name, meaning))
    if found:
        return found
    good = np.flatnonzero(np.isfinite(nm))
    meaning = "The sensor has no usable band for one of red, green and blue, nor for near infrared beside them."
    return [_picture(small, nm, good[[-1, len(good) // 2, 0]], "False colour", meaning)]


def _picture(
    cube: xr.Dataset, nm: npt.NDArray[np.float64], bands: npt.NDArray[np.int64], name: str, meaning: str
) -> QuickLook:
    pixels = cube["reflectance"].isel(band=bands).transpose("y", "x", "band").to_numpy()
    alpha = (cube["valid"].to_numpy() & np.isfinite(pixels).all(axis=2)).astype(np.float64)
    buffer = io.BytesIO()
    image.imsave(buffer, np.dstack([_stretched(pixels, alpha > 0), alpha]), format="png")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return QuickLook(uri=uri, name=name, meaning=meaning, nm=tuple(float(nm[band]) for band in bands))


def _stretched(pixels: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    if not valid.any():
        return np.zeros(pixels.shape)
    low, high = np.percentile(pixels[valid], _STRETCH, axis=0)
    share = np.asarray((pixels - low) / np.maximum(high - low, 1e-9), dtype=np.float64)
    return np.clip(np.nan_to_num(share), 0.0, 1.0)
