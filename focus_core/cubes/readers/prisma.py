"""PRISMA products of the Italian space agency (levels 1, 2B, 2C and 2D): HDF-EOS5, one scene to a file.

A VNIR and a SWIR cube, lines of bands of pixels, are joined into one. Wavelengths, scales and corners are attributes of
the file; bands that a camera does not deliver have the wavelength 0.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from focus_core.cubes.readers.hdf5 import LARGEST_TABLE, arrays, lazy_array, open_hdf5
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.errors import CubeError

_CUBE = re.compile(r"HDFEOS/SWATHS/PRS_L(1|2B|2C|2D)_HCO/Data Fields/(VNIR|SWIR)_Cube")
_PIXEL_M = 30.0
_LARGEST_COUNT = 65535.0


class _Camera(NamedTuple):
    data: Any
    nm: npt.NDArray[np.float64]
    fwhm_nm: npt.NDArray[np.float64]
    gain: float
    offset: float


def is_prisma(found: dict[str, Any]) -> bool:
    """Return whether the arrays of an HDF5 file are those of a PRISMA scene."""
    return any(_CUBE.fullmatch(name) for name in found)


def open_prisma(path: Path) -> OpenedCube:
    """Open a PRISMA scene lazily, its bands in the file's order: VNIR, then SWIR, without absent ones.

    Raises
    ------
    CubeError
        If a cube or an attribute is missing, or they contradict each other.
    """
    with open_hdf5(path) as file:
        found = {match: item for name, item in arrays(path, file).items() if (match := _CUBE.fullmatch(name))}
        cubes = {match[2]: (match[1], item) for match, item in found.items()}
        if sorted(cubes) != ["SWIR", "VNIR"] or len({level for level, _ in cubes.values()}) != 1:
            raise CubeError(f"{path}: expected the VNIR and the SWIR cube of one level, found {sorted(cubes)}")
        level = cubes["VNIR"][0]
        vnir, swir = (_camera(path, file.attrs, level, name, cubes[name][1]) for name in ("VNIR", "SWIR"))
        if vnir.data.shape[1:] != swir.data.shape[1:]:
            raise CubeError(
                f"{path}: the VNIR cube is {vnir.data.shape}, the SWIR cube {swir.data.shape}; copy the file again"
            )
        shape = (int(vnir.data.shape[1]), int(vnir.data.shape[2]))
        transform, crs = _corners(path, file.attrs, shape) if level == "2D" else (None, None)
    cameras = (vnir, swir)
    return OpenedCube(
        path=path,
        files=(path,),
        data=da.concatenate([one.data for one in cameras]).rechunk({0: -1}),
        wavelength=np.concatenate([one.nm for one in cameras]),
        wavelength_units="nm",
        wavelength_source="attributes 'List_Cw_Vnir' and 'List_Cw_Swir'",
        fwhm=np.concatenate([one.fwhm_nm for one in cameras]),
        fill=None if level == "1" else 0.0,
        gain=np.concatenate([np.full(len(one.nm), one.gain) for one in cameras]),
        offset=np.concatenate([np.full(len(one.nm), one.offset) for one in cameras]),
        gain_source="attributes 'ScaleFactor_…', 'Offset_…'" if level == "1" else "attributes 'L2Scale…Min', '…Max'",
        quantity="radiance" if level in ("1", "2B") else "reflectance",
        transform=transform,
        crs=crs,
        notes=() if level == "1" else ("stored 0, which pixels outside the scene have, is missing",),
    )


def _camera(path: Path, attrs: Any, level: str, name: str, stored: Any) -> _Camera:
    data = lazy_array(path, stored, axes=(1, 0, 2))
    short = name.capitalize()
    nm, fwhm = (_list(path, attrs, f"{key}_{short}", data.shape[0]) for key in ("List_Cw", "List_Fwhm"))
    seen = nm > 0.0
    if not seen.any():
        raise CubeError(f"{path}: 'List_Cw_{short}' is 0 in every band; copy the file again")
    if level == "1":
        factor, shift = (_number(path, attrs, f"{key}_{short}") for key in ("ScaleFactor", "Offset"))
        if not factor > 0.0:
            raise CubeError(f"{path}: 'ScaleFactor_{short}' must be positive, found {factor:g}")
        gain, offset = 1.0 / factor, -shift
    else:
        low, high = (_number(path, attrs, f"L2Scale{short}{end}") for end in ("Min", "Max"))
        if not high > low:
            raise CubeError(f"{path}: 'L2Scale{short}Max' {high:g} must be larger than 'L2Scale{short}Min' {low:g}")
        gain, offset = (high - low) / _LARGEST_COUNT, low
    return _Camera(data if seen.all() else data[np.flatnonzero(seen)], nm[seen], fwhm[seen], gain, offset)


def _corners(path: Path, attrs: Any, shape: tuple[int, int]) -> tuple[Affine, CRS]:
    """Return where the pixels lie; whether the corners are those of pixels or their centres, their distance says."""
    west, north, east, south = (
        _number(path, attrs, f"Product_{corner}corner_{axis}")
        for corner in ("UL", "LR")
        for axis in ("easting", "northing")
    )
    spans = np.array([north - south, east - west])
    between = {half: np.abs(spans - _PIXEL_M * (np.array(shape) - 2 * half)).max() for half in (0.0, 0.5)}
    half = min(between, key=lambda key: between[key])
    if not between[half] < _PIXEL_M / 4:
        raise CubeError(
            f"{path}: corners {spans[1]:g} × {spans[0]:g} m apart do not fit {shape[1]} × {shape[0]} pixels of "
            f"{_PIXEL_M:g} m; copy the file again"
        )
    code = _number(path, attrs, "Epsg_Code")
    try:
        crs = CRS.from_epsg(int(code))
    except (CRSError, ValueError, OverflowError) as error:
        raise CubeError(f"{path}: 'Epsg_Code' {code:g} is no CRS ({error}); copy the file again") from error
    return Affine(_PIXEL_M, 0.0, west - half * _PIXEL_M, 0.0, -_PIXEL_M, north + half * _PIXEL_M), crs


def _list(path: Path, attrs: Any, key: str, bands: int) -> npt.NDArray[np.float64]:
    value = np.asarray(attrs[key]) if key in attrs else np.empty(0)
    if value.dtype.kind not in "iuf" or value.nbytes > LARGEST_TABLE or value.size != bands:
        raise CubeError(f"{path}: attribute '{key}' must hold {bands} numbers, found {value.dtype} {value.shape}")
    return value.astype(np.float64).ravel()


def _number(path: Path, attrs: Any, key: str) -> float:
    value = np.asarray(attrs[key]) if key in attrs else np.empty(0)
    if value.dtype.kind not in "iuf" or value.size != 1 or not np.isfinite(value).all():
        raise CubeError(f"{path}: attribute '{key}' must be a number, found {attrs.get(key)!r}; copy the file again")
    return float(value.ravel()[0])
