"""From stored numbers to reflectance or radiance, block by block and never as a whole.

Knows scale factors and white and dark references; knows nothing of map positions or bad bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from focus_core.config import Campaign, RawFile
from focus_core.cubes.readers import OpenedCube
from focus_core.errors import CubeError

LARGEST_REFLECTANCE = 3.2
"""What int16 steps of 1e-4 hold; larger is no reflectance but noise or glint, and missing."""
_AGREE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """How the numbers of one file become its quantity; applied to blocks of its array."""

    order: npt.NDArray[np.int64]
    """Position in the file of each band ``(band,)``, in order of wavelength."""
    gain: npt.NDArray[np.float32]
    """Factor ``(band, 1, 1)``, or ``(band, 1, x)`` with references."""
    offset: npt.NDArray[np.float32]
    """Added after the factor; shaped as ``gain``."""
    fill: float | None
    background: float | None
    """Stored number that pixels beside the object have in every band."""
    saturated: float | None
    """Stored number at which the camera was full."""
    largest: float
    """Largest magnitude that the quantity can have."""
    decision: str
    """Where the scale comes from."""

    def apply(self, data: Any) -> Any:
        """Return the dask array ``(band, y, x)``, float32, of the quantity; NaN where missing, bands sorted."""
        per_column = self.gain.shape[2] > 1
        column = np.cumsum((0, *data.chunks[2]))

        def block(raw: npt.NDArray[Any], block_info: Any = None) -> npt.NDArray[np.float32]:
            start = column[block_info[0]["chunk-location"][2]] if block_info else 0
            part = slice(start, start + raw.shape[2]) if per_column else slice(None)
            return self._block(raw, self.gain[:, :, part], self.offset[:, :, part])

        return data.map_blocks(block, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))

    def _block(
        self, raw: npt.NDArray[Any], gain: npt.NDArray[np.float32], offset: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        values = np.empty(raw.shape, dtype=np.float32)
        # Band by band, and looking for what is missing only where there is some: each step then finds its numbers in
        # the processor's cache, and mostly they are read, not written.
        for band, place in enumerate(self.order):
            stored, out = raw[place], values[band]
            out[:] = stored
            out *= gain[band]
            out += offset[band]
            if self.fill is not None:
                missing = stored == raw.dtype.type(self.fill) if np.isfinite(self.fill) else np.isnan(stored)
                out[missing] = np.nan
            if self.saturated is not None and stored.max() >= self.saturated:
                out[stored >= raw.dtype.type(self.saturated)] = np.nan
            if not -self.largest <= out.min() <= out.max() <= self.largest:
                out[~(np.abs(out) <= self.largest)] = np.nan
        if self.background is not None:
            values[:, (raw == self.background).all(axis=0)] = np.nan
        return values


def without_references(
    cube: OpenedCube, entry: RawFile, order: npt.NDArray[np.int64], campaign: Campaign
) -> Calibration:
    """Return the calibration of a file that already holds its quantity, up to a scale.

    Raises
    ------
    CubeError
        If file and campaign name different scales, or whole numbers are called reflectance without a scale.
    """
    gain = np.ones(cube.bands) if cube.gain is None else cube.gain
    decision = cube.gain_source
    if entry.scale is not None:
        if cube.gain is not None and not np.allclose(cube.gain, entry.scale, rtol=_AGREE):
            raise CubeError(
                f"{cube.path}: {cube.gain_source} is a factor of {cube.gain[0]:g}, but the campaign file says 'scale: "
                f"{entry.scale:g}'; leave 'scale' out, or correct the file"
            )
        if cube.gain is None:
            gain, decision = np.full(cube.bands, entry.scale), f"'scale: {entry.scale:g}' in the campaign file"
    whole_numbers = cube.data.dtype.kind in "iu"
    if campaign.quantity == "reflectance" and whole_numbers and cube.gain is None and entry.scale is None:
        raise CubeError(
            f"{cube.path}: holds whole numbers without a scale, which are no reflectance; give 'scale' (often 0.0001), "
            "or 'white' and 'dark' references, in the campaign file"
        )
    offset = np.zeros(cube.bands) if cube.offset is None else cube.offset
    return Calibration(
        order=order,
        gain=gain[order].astype(np.float32)[:, None, None],
        offset=offset[order].astype(np.float32)[:, None, None],
        fill=_fill(cube),
        background=entry.background,
        saturated=None,
        largest=LARGEST_REFLECTANCE if campaign.quantity == "reflectance" else float(np.finfo(np.float32).max),
        decision=decision,
    )


def with_references(
    cube: OpenedCube,
    white: OpenedCube,
    dark: OpenedCube,
    order: npt.NDArray[np.int64],
    *,
    panel_reflectance: float,
    background: float | None = None,
) -> Calibration:
    """Return the flat-field calibration ``(raw - dark) / (white - dark) × panel``, per band and column.

    The references are averaged over their lines. Where the white reference is not brighter than the dark one, or was
    saturated, the column is missing in that band; so is every saturated pixel of the image.

    Raises
    ------
    CubeError
        If a reference has another width, other bands or another type than the image.
    """
    for role, reference in (("white", white), ("dark", dark)):
        _refuse_geometry(cube, reference, role)
    ceiling = float(np.iinfo(cube.data.dtype).max) if cube.data.dtype.kind in "iu" else None
    light, base = (_mean_line(reference)[order] for reference in (white, dark))
    span = light - base
    if ceiling is not None:
        span[_saturated(white, ceiling)[order]] = np.nan
    span[~(span > 0.0)] = np.nan
    if np.isnan(span).all():
        raise CubeError(f"{white.path}: nowhere brighter than {dark.path.name}; are white and dark swapped?")
    gain = panel_reflectance / span
    return Calibration(
        order=order,
        gain=gain.astype(np.float32)[:, None, :],
        offset=(-base * gain).astype(np.float32)[:, None, :],
        fill=_fill(cube),
        background=background,
        saturated=ceiling,
        largest=LARGEST_REFLECTANCE,
        decision=f"white and dark references, panel reflectance {panel_reflectance:g}",
    )


def _fill(cube: OpenedCube) -> float | None:
    """Return the fill as a number that the file's type can hold; another cannot occur in it."""
    if cube.fill is None or cube.data.dtype.kind == "f":
        return cube.fill
    limits = np.iinfo(cube.data.dtype)
    fits = np.isfinite(cube.fill) and limits.min <= cube.fill <= limits.max and float(cube.fill).is_integer()
    return cube.fill if fits else None


def _refuse_geometry(cube: OpenedCube, reference: OpenedCube, role: str) -> None:
    expected = (cube.bands, cube.shape.cols, cube.data.dtype.newbyteorder("="))
    found = (reference.bands, reference.shape.cols, reference.data.dtype.newbyteorder("="))
    if expected != found:
        raise CubeError(
            f"{reference.path}: the {role} reference has {found[0]} bands × {found[1]} columns of {found[2]}, "
            f"the image {cube.path.name} has {expected[0]} × {expected[1]} of {expected[2]}; "
            "record both with one camera setting"
        )
    named = (cube.wavelength, reference.wavelength)
    if named[0] is not None and named[1] is not None and not np.allclose(named[0], named[1], rtol=1e-4):
        raise CubeError(f"{reference.path}: the {role} reference has other wavelengths than {cube.path.name}")


def _mean_line(reference: OpenedCube) -> npt.NDArray[np.float64]:
    """Average over lines ``(band, x)``, counts."""
    return np.asarray(reference.data.mean(axis=1, dtype=np.float64).compute(), dtype=np.float64)


def _saturated(reference: OpenedCube, ceiling: float) -> npt.NDArray[np.bool_]:
    return np.asarray((reference.data >= reference.data.dtype.type(ceiling)).any(axis=1).compute())
