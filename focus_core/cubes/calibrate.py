"""From stored numbers to reflectance or radiance, block by block and never as a whole.

Knows scale factors and white and dark references; knows nothing of map positions or bad bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt

from focus_core.config import Campaign, RawFile
from focus_core.cubes.readers import OpenedCube
from focus_core.errors import CubeError

LARGEST_REFLECTANCE = 3.2
"""What int16 steps of 1e-4 hold; larger is no reflectance but noise or glint, and missing."""
_AGREE = 1e-3
_FULL = {2**bits - 1 for bits in (10, 12, 14)}
_PLATEAU = 10
"""Numbers of a white reference that are its largest; without a limit, its noise leaves one or two."""


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
    limits: tuple[float, float] | None
    """Least and largest stored number of what was measured."""
    background: float | None
    """Stored number that pixels beside the object have in every band."""
    saturated: int | None
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
            if self.fill is not None or self.limits is not None:
                out[_missing(stored, self.fill, self.limits)] = np.nan
            if self.saturated is not None and stored.max() >= self.saturated:
                out[stored >= self.saturated] = np.nan
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
        limits=cube.limits,
        background=_background(cube, entry),
        saturated=_saturated(cube, entry),
        largest=LARGEST_REFLECTANCE if campaign.quantity == "reflectance" else float(np.finfo(np.float32).max),
        decision=decision,
    )


def with_references(
    cube: OpenedCube,
    white: OpenedCube,
    dark: OpenedCube,
    entry: RawFile,
    order: npt.NDArray[np.int64],
) -> Calibration:
    """Return the flat-field calibration ``(raw - dark) / (white - dark) × panel``, per band and column.

    The references are averaged over their lines, without what they call missing. Where the white reference is not
    brighter than the dark one, or was saturated, the column is missing in that band; so is every saturated pixel of the
    image. Counts above the dark grow with the exposure, so where that of the white reference was another, its share of
    the image's is a factor; the dark is taken as the same for both. Factors in the files' own headers must be the same
    in all three, and then cancel out.

    Raises
    ------
    CubeError
        If a reference has another width, other bands, another type or another factor than the image, or the files and
        the campaign name different exposures.
    """
    for role, reference in (("white", white), ("dark", dark)):
        _refuse_geometry(cube, reference, role)
        _refuse_other_factor(cube, reference, role)
    exposure, told = _exposure(cube, white, entry)
    ceiling = _saturated(cube, entry)
    if ceiling is None and cube.data.dtype.kind in "iu":
        ceiling = int(np.iinfo(cube.data.dtype).max)
    _refuse_plateau(white, entry)
    light, base = (_mean_line(reference)[order] for reference in (white, dark))
    span = light - base
    if ceiling is not None:
        span[_ever_full(white, ceiling)[order]] = np.nan
    span[~(span > 0.0)] = np.nan
    if np.isnan(span).all():
        raise CubeError(f"{white.path}: nowhere brighter than {dark.path.name}; are white and dark swapped?")
    gain = entry.panel_reflectance * exposure / span
    return Calibration(
        order=order,
        gain=gain.astype(np.float32)[:, None, :],
        offset=(-base * gain).astype(np.float32)[:, None, :],
        fill=_fill(cube),
        limits=cube.limits,
        background=_background(cube, entry),
        saturated=ceiling,
        largest=LARGEST_REFLECTANCE,
        decision=f"white and dark references, panel reflectance {entry.panel_reflectance:g}{told}",
    )


def _fill(cube: OpenedCube) -> float | None:
    """Return the fill as a number that the file's type can hold; another cannot occur in it."""
    if cube.fill is None or cube.data.dtype.kind == "f":
        return cube.fill
    return cube.fill if _holds(cube.data.dtype, cube.fill) else None


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


def _refuse_other_factor(cube: OpenedCube, reference: OpenedCube, role: str) -> None:
    for name, neutral in (("gain", 1.0), ("offset", 0.0)):
        found, wanted = (
            np.full(cube.bands, neutral) if (values := getattr(one, name)) is None else values
            for one in (reference, cube)
        )
        if not np.allclose(found, wanted, rtol=_AGREE, atol=0.0):
            band = int(np.abs(found - wanted).argmax())
            raise CubeError(
                f"{reference.path}: the {role} reference has {name} {found[band]:g} in band {band + 1} "
                f"({reference.gain_source}), {cube.path.name} {wanted[band]:g} ({cube.gain_source}); counts can be "
                "compared only where both are the same"
            )


def _missing(stored: Any, fill: float | None, limits: tuple[float, float] | None) -> Any:
    """Return where numbers, of NumPy or Dask, are the fill, as their type holds it, or beyond the limits."""
    missing: Any = np.False_
    if fill is not None:
        missing = stored == stored.dtype.type(fill) if np.isfinite(fill) else np.isnan(stored)
    return missing if limits is None else missing | (stored < limits[0]) | (stored > limits[1])


def _known(reference: OpenedCube) -> Any:
    """Return where a reference ``(band, y, x)`` holds counts."""
    fill = _fill(reference)
    if fill is None and reference.limits is None:
        return da.ones_like(reference.data, dtype=np.bool_)
    return ~_missing(reference.data, fill, reference.limits)


def _mean_line(reference: OpenedCube) -> npt.NDArray[np.float64]:
    """Average over lines ``(band, x)``, counts; NaN where all are missing."""
    known = _known(reference)
    total = da.where(known, reference.data, 0).sum(axis=1, dtype=np.float64)
    found, count = dask.compute(total, known.sum(axis=1))
    return np.asarray(np.divide(found, count, out=np.full(found.shape, np.nan), where=count > 0))


def _ever_full(reference: OpenedCube, ceiling: int) -> npt.NDArray[np.bool_]:
    return np.asarray((_known(reference) & (reference.data >= ceiling)).any(axis=1).compute())


def _refuse_plateau(white: OpenedCube, entry: RawFile) -> None:
    """Refuse a white reference that ends at the largest number of fewer bits than its type has: the camera was full."""
    if entry.saturated is not None or white.data.dtype.kind not in "iu":
        return
    known = _known(white)
    top = int(da.where(known, white.data, 0).max().compute())
    if top in _FULL and int((known & (white.data == top)).sum().compute()) >= _PLATEAU:
        raise CubeError(
            f"{white.path}: never exceeds {top} and reaches it often, as a camera of {top.bit_length()} bits that is "
            f"full; write 'saturated: {top}' in the campaign file, or expose the white reference shorter"
        )


def _saturated(cube: OpenedCube, entry: RawFile) -> int | None:
    """Return the number that the campaign file calls full; one that never occurs would mask nothing in silence."""
    dtype = cube.data.dtype
    if entry.saturated is not None and dtype.kind in "iu" and entry.saturated > np.iinfo(dtype).max:
        raise CubeError(
            f"{cube.path}: 'saturated: {entry.saturated}' in the campaign file is more than {dtype} holds "
            f"({np.iinfo(dtype).max}); correct it, or leave it out"
        )
    return entry.saturated


def _background(cube: OpenedCube, entry: RawFile) -> float | None:
    """Return the number that the campaign file calls background, which the file's type must hold."""
    value, dtype = entry.background, cube.data.dtype
    if value is not None and not (np.isfinite(value) and (dtype.kind == "f" or _holds(dtype, value))):
        raise CubeError(
            f"{cube.path}: 'background: {value:g}' in the campaign file is no number that {dtype} holds; correct it, "
            "or leave it out"
        )
    return value


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value) and limits.min <= value <= limits.max and float(value).is_integer())


def _exposure(cube: OpenedCube, white: OpenedCube, entry: RawFile) -> tuple[float, str]:
    """Return the exposure of the white reference over that of the image, and words on it."""
    named = found = None
    if entry.exposure_ms is not None and entry.white_exposure_ms is not None:
        named = entry.white_exposure_ms / entry.exposure_ms
    if cube.exposure is not None and white.exposure is not None:
        found = white.exposure / cube.exposure
    if named is not None and found is not None and not np.isclose(named, found, rtol=_AGREE):
        raise CubeError(
            f"{white.path}: was exposed {found:g} times as long as {cube.path.name} by their headers, but "
            f"'exposure_ms' and 'white_exposure_ms' in the campaign file say {named:g}; leave them out, or correct "
            "the headers"
        )
    ratio = next((one for one in (named, found) if one is not None), 1.0)
    return ratio, "" if ratio == 1.0 else f", which was exposed {ratio:g} times as long as the image"
