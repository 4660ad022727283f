"""ENVI cubes: BSQ, BIL and BIP, either byte order, mapped into memory and read on demand.

GDAL's and SPy's readers are the cross-check in the tests, not used here: GDAL rounds wavelengths and lets a stray
``.aux.xml`` shadow the header, SPy refuses headers without ``byte order``, both read an unknown interleave as BSQ.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from focus_core.cubes.readers.envi_header import EnviHeader
from focus_core.cubes.readers.map_info import read_map_info
from focus_core.cubes.readers.protocol import READ_PX, OpenedCube, same_folder
from focus_core.errors import CubeError, MissingInputError

_DTYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
# Dims of the file in its own order, and how to turn them into (band, y, x).
_TO_BAND_Y_X = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (2, 0, 1)}
_MAPPED_BYTES = 16 * 2**20
_DATA_SUFFIXES = ("", ".raw", ".img", ".dat", ".bsq", ".bil", ".bip", ".bin", ".sli")
_EXPOSURE = ("tint", "shutter", "exposure", "exposure time", "integration time")
"""Keys in which cameras' programs keep the exposure (Specim, Resonon, others)."""
_DURATION = re.compile(r"(\d+(?:[.,]\d+)?(?:e[+-]?\d+)?)\s*(s|sec|seconds|ms|msec|us|µs|μs)?", re.IGNORECASE)
_IN_MS = {None: 1.0, "ms": 1.0, "msec": 1.0, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}
_NAMED_WAVELENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanometers?|um|µm|micrometers?|microns?)\b|\((\d+(?:\.\d+)?)\)\s*$", re.IGNORECASE
)


def header_beside(data: Path) -> Path | None:
    """Return the ENVI header of a data file, if one lies beside it."""
    ends = (".hdr", ".HDR")
    for candidate in (path for end in ends for path in (data.with_name(data.name + end), data.with_suffix(end))):
        if candidate.is_file() and candidate != data:
            with candidate.open("rb") as file:
                if file.read(4) == b"ENVI":
                    return same_folder(candidate, data)
    return None


def open_envi(header_path: Path, data_path: Path | None = None) -> OpenedCube:
    """Open an ENVI cube lazily.

    Parameters
    ----------
    header_path
        The text header.
    data_path
        The data file; by default the one beside the header.

    Raises
    ------
    MissingInputError
        If header or data file is missing.
    CubeError
        If the header contradicts itself or the size of the data file.
    """
    header = EnviHeader.read(header_path)
    if "library" in header.fields.get("file type", "").lower():
        raise header.error("file type", "a spectral library is not an image; name the file of a cube")
    data_path = data_path or _data_beside(header_path)
    bands = header.count("bands")
    wavelength, source, units = _wavelengths(header, bands)
    good = header.numbers("bbl", bands)
    gain, offset, gain_source = _gain(header, bands)
    transform, crs = _georeference(header)
    notes = [
        f"'{key}' is not in the header; read as {default}"
        for key, default in (("byte order", "little endian"), ("header offset", "0"))
        if key not in header.fields
    ]
    return OpenedCube(
        path=header_path,
        files=(header_path, data_path),
        data=_mapped(header, data_path, bands),
        wavelength=wavelength,
        wavelength_units=units,
        wavelength_source=source,
        fwhm=header.numbers("fwhm", bands) if wavelength is not None else None,
        good_band=None if good is None else good > 0,
        fill=header.number("data ignore value"),
        gain=gain,
        offset=offset,
        gain_source=gain_source,
        quantity="reflectance" if "reflectance scale factor" in header.fields else None,
        exposure=_exposure(header),
        transform=transform,
        crs=crs,
        notes=tuple(notes),
    )


def _data_beside(header_path: Path) -> Path:
    stem = header_path.with_suffix("")
    ends = dict.fromkeys((*_DATA_SUFFIXES, *(suffix.upper() for suffix in _DATA_SUFFIXES)))
    found = {path.stat().st_ino: path for end in ends if (path := stem.with_name(stem.name + end)).is_file()}
    if not found:
        raise MissingInputError(f"{header_path}: no data file beside the header ({stem.name}[.raw, .img, …])")
    first, *others = found.values()
    if others:
        names = sorted(path.name for path in found.values())
        raise CubeError(f"{header_path}: which of {names} is its data? name that file instead of the header")
    return same_folder(first, header_path)


def _mapped(header: EnviHeader, data_path: Path, bands: int) -> Any:
    """Map the data file and return it as a dask array ``(band, y, x)``."""
    for key in ("file compression", "major frame offsets", "minor frame offsets"):
        if header.fields.get(key, "0").strip("{} ") not in {"0", "", "0,0", "0, 0"}:
            raise header.error(key, "is not supported; export the cube without it")
    rows, cols = header.count("lines"), header.count("samples")
    code = header.count("data type")
    if code not in _DTYPES:
        raise header.error("data type", f"expected one of {sorted(_DTYPES)}, found {code}")
    interleave = header.text("interleave").lower()
    if interleave not in _TO_BAND_Y_X:
        raise header.error("interleave", f"expected bsq, bil or bip, found '{interleave}'")
    byte_order = header.count("byte order", default=0, least=0)
    if byte_order > 1:
        raise header.error("byte order", f"expected 0 (little endian) or 1 (big endian), found {byte_order}")
    dtype = np.dtype("<>"[byte_order] + _DTYPES[code])
    offset = header.count("header offset", default=0, least=0)
    expected = offset + rows * cols * bands * dtype.itemsize
    found = data_path.stat().st_size
    if found != expected:
        raise CubeError(
            f"{data_path}: {found} bytes, but {header.path.name} describes {expected}: {rows} lines × {cols} samples × "
            f"{bands} bands of {dtype.itemsize} bytes after {offset}; correct the header or copy the file again"
        )
    mapped = _Mapped(data_path, dtype, offset, (rows, cols, bands), interleave)
    return da.from_array(mapped, chunks=(bands, READ_PX, READ_PX), name=False, meta=np.empty((0, 0, 0), dtype))


class _Mapped:
    """Array-like view ``(band, y, x)`` of the data file; mapped at each read.

    Not an array itself, because Dask copies arrays that it is given, memory maps included. A read maps and unmaps part
    after part, because mapped pages count as this process's memory, those of the columns beside it too.
    """

    ndim = 3

    def __init__(
        self, path: Path, dtype: np.dtype[Any], offset: int, extent: tuple[int, int, int], interleave: str
    ) -> None:
        rows, cols, bands = extent
        self.path, self.dtype, self.offset, self.interleave = path, dtype, offset, interleave
        self.shape = (bands, rows, cols)
        self.stored = {"bsq": (bands, rows, cols), "bil": (rows, bands, cols), "bip": extent}[interleave]

    def __getitem__(self, key: tuple[Any, Any, Any]) -> npt.NDArray[Any]:
        axes = _TO_BAND_Y_X[self.interleave]
        outer = axes.index(0)  # what changes slowest in the file: lines or bands
        chosen = np.arange(self.shape[outer])[key[outer]]
        step = max(_MAPPED_BYTES // (self.stored[1] * self.stored[2] * self.dtype.itemsize), 1)
        if np.ndim(chosen) == 0 or len(chosen) <= step:
            return np.array(self._map().transpose(axes)[key])
        shape = [len(np.arange(size)[part]) for size, part in zip(self.shape, key, strict=True)]
        values = np.empty(shape, self.dtype)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            source, target = list(key), [slice(None)] * 3
            source[outer] = slice(part[0], part[-1] + 1) if (np.diff(part) == 1).all() else part
            target[outer] = slice(start, start + step)
            values[tuple(target)] = self._map().transpose(axes)[tuple(source)]
        return values

    def _map(self) -> npt.NDArray[Any]:
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.stored)


def _wavelengths(header: EnviHeader, bands: int) -> tuple[npt.NDArray[np.float64] | None, str, str | None]:
    units = header.fields.get("wavelength units")
    values = header.numbers("wavelength", bands)
    if values is not None:
        return values, "'wavelength' in the header", units
    names = header.strings("band names") or []
    found = [_NAMED_WAVELENGTH.search(name) for name in names]
    if len(names) != bands or not all(found):
        return None, "none in the file", units
    matches = [match for match in found if match]
    named_units = {match.group(2).lower() for match in matches if match.group(2)}
    if len(named_units) > 1:
        raise header.error("band names", f"name wavelengths in several units {sorted(named_units)}")
    values = np.array([float(match.group(1) or match.group(3)) for match in matches])
    return values, "'band names' in the header", units or next(iter(named_units), None)


def _gain(header: EnviHeader, bands: int) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None, str]:
    factor = header.number("reflectance scale factor")
    gain, offset = (header.numbers(f"data {name} values", bands) for name in ("gain", "offset"))
    if factor is not None and (gain is not None or offset is not None):
        raise header.error("reflectance scale factor", "stands beside 'data gain values'; keep one")
    if factor is not None:
        if factor <= 0.0:
            raise header.error("reflectance scale factor", f"must be positive, found {factor}")
        return np.full(bands, 1.0 / factor), None, f"'reflectance scale factor' {factor:g} in the header"
    if gain is None and offset is None:
        return None, None, "none in the file"
    return np.ones(bands) if gain is None else gain, offset, "'data gain values' in the header"


def _exposure(header: EnviHeader) -> float | None:
    """Return the exposure in ms by its unit, without one as it stands; text such as 'auto' names none."""
    values = set()
    for key in _EXPOSURE:
        text = header.fields.get(key, "").strip("{} ")
        if not text[:1].isdigit():
            continue
        found = _DURATION.fullmatch(text)
        if found is None:
            raise header.error(key, f"expected one exposure in ms, found '{text[:40]}'; correct it")
        values.add(float(found[1].replace(",", ".")) * _IN_MS.get(found[2] and found[2].lower(), 1e3))
    return values.pop() if len(values) == 1 and min(values) > 0.0 else None


def _georeference(header: EnviHeader) -> tuple[Any, Any]:
    info = header.strings("map info")
    wkt = header.fields.get("coordinate system string", "").strip("{} \n")
    return (None, None) if info is None else read_map_info(info, wkt, header.error)
