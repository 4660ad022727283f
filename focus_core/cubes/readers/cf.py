"""NetCDF files and Zarr stores by their CF attributes: any array with a wavelength for each band, as xarray opens it.

Stored numbers stay as they are: scale, offset and fill are handed on beside them, and applied once, in calibration.
EMIT's layout is one of these, with the bands described in a group of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from focus_core.cubes.readers.cf_grid import georeference, horizontal_axes
from focus_core.cubes.readers.hdf5 import LARGEST_CHUNK, LARGEST_TABLE, arrays, open_hdf5, refuse_unreadable
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.cubes.readers.view import StoredArray, refuse_inflation
from focus_core.errors import CubeError

_STANDARD = {"radiation_wavelength", "sensor_band_central_radiation_wavelength"}
_WAVELENGTH = {"wavelength", "wavelengths", "wl", "band_wavelength", "center_wavelength", "centre_wavelength"}
_FWHM = {"fwhm", "bandwidth", "band_width"}
_GOOD = {"good_band", "good_wavelengths", "bbl"}
_BAND_DIMS = {"band", "bands", "channel", "spectral", "wavelength"}
_BANDS_GROUP = "sensor_band_parameters"
_UNWRITTEN = {"f4": 9.969209968386869e36, "f8": 9.969209968386869e36, "i2": -32767.0, "u2": 65535.0}
_UNWRITTEN |= {"i4": -2147483647.0, "u4": 4294967295.0}
"""What the NetCDF library leaves where nothing was written and the file names no fill (``netcdf.h``)."""
_QUANTITIES = ("reflectance", "radiance")
_LIMITS = ("valid_range", "valid_min", "valid_max")
_OPTIONS: dict[str, Any] = {"mask_and_scale": False, "decode_times": False, "decode_coords": "all", "cache": False}


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Say what is wrong with a damaged file; xarray, Zarr and their codecs raise almost anything on one."""
    try:
        yield
    except CubeError:
        raise
    except Exception as error:
        raise CubeError(f"{path}: cannot be read as {kind} ({error!r}); copy it again") from error


def open_netcdf(path: Path, variable: str | None = None) -> OpenedCube:
    """Open a NetCDF-4 file lazily.

    Raises
    ------
    CubeError
        If no array has wavelengths, several do and none is named, or the file contradicts itself.
    """
    with open_hdf5(path) as file:
        for name, stored in arrays(path, file).items():
            if len(stored.shape or ()) == 3 and stored.dtype.kind in "iuf":
                refuse_unreadable(path, stored)
            elif stored.is_virtual or stored.external:
                raise CubeError(f"{path}: '{name}' lies in another file; copy its data into this one")
            elif len(stored.shape or ()) == 1:
                _refuse_long(path, name, stored.size * stored.dtype.itemsize)
        grouped = _BANDS_GROUP in file
    with _reading(path, "NetCDF"):
        dataset = xr.open_dataset(path, engine="h5netcdf", **_OPTIONS)
        if grouped:
            dataset = dataset.merge(xr.open_dataset(path, engine="h5netcdf", group=_BANDS_GROUP, **_OPTIONS))
        cube = _opened(path, dataset, _chosen(path, dataset, variable), path.stat().st_size)
    return cube if cube.fill is not None else replace(cube, fill=_UNWRITTEN.get(cube.data.dtype.str[1:]))


def open_zarr(path: Path, variable: str | None = None) -> OpenedCube:
    """Open a Zarr store (a folder, version 2 or 3) lazily, for example a ``cube.zarr``.

    Raises
    ------
    CubeError
        If no array has wavelengths, several do and none is named, or part of the store is a link out of it.
    """
    size = 0
    for part in path.rglob("*"):
        if part.is_symlink():
            raise CubeError(f"{path}: '{part.relative_to(path)}' is a link; copy the store with its files")
        size += part.stat().st_size if part.is_file() else 0
    with _reading(path, "Zarr"):
        for name, stored in zarr.open_group(path, mode="r").arrays():
            if stored.ndim == 1:
                _refuse_long(path, name, stored.nbytes)
            elif math.prod(stored.chunks) * stored.dtype.itemsize > LARGEST_CHUNK:
                raise CubeError(f"{path}: '{name}' has chunks of {stored.chunks}, too large to read; rechunk it")
        dataset = xr.open_dataset(path, engine="zarr", consolidated=False, **_OPTIONS)
        array = _chosen(path, dataset, variable)
        cube = _opened(path, dataset, array, size)
        _refuse_lost_chunks(path, str(array.name), cube.fill)
    return cube


def _refuse_long(path: Path, name: str, size: int) -> None:
    """Xarray reads lists, such as coordinates, when it opens a file."""
    if size > LARGEST_TABLE:
        raise CubeError(f"{path}: '{name}' is a list of {size} bytes, which no cube needs; copy the file again")


def _refuse_lost_chunks(path: Path, name: str, fill: float | None) -> None:
    """Zarr leaves out chunks that hold its own fill value only; where CF's is another, they would read as data."""
    stored = zarr.open_array(path, path=name, mode="r")
    lost = stored.nchunks - stored.nchunks_initialized
    if lost and fill is not None and float(stored.fill_value) != fill:
        raise CubeError(
            f"{path}: '{name}': {lost} of {stored.nchunks} chunks are not there and would read as {stored.fill_value}, "
            f"not as missing ({fill:g}); copy the store again"
        )


def _opened(path: Path, dataset: xr.Dataset, array: xr.DataArray, size: int) -> OpenedCube:
    wavelength = _wavelength(dataset)
    band = _band_dim(path, array, wavelength)
    axes = horizontal_axes(path, array, band)
    _refuse_other(path, array, size)
    stored = StoredArray(
        partial(_read, path, array), array.shape, array.dtype, (array.dims.index(band), *axes.positions)
    )
    place = georeference(path, dataset, array, axes)
    data = stored.lazy()
    fwhm, good = (_along(dataset, names, band) for names in (_FWHM, _GOOD))
    if wavelength is not None and fwhm is not None and fwhm.attrs.get("units") != wavelength.attrs.get("units"):
        raise CubeError(
            f"{path}: '{fwhm.name}' is in {fwhm.attrs.get('units')}, '{wavelength.name}' in "
            f"{wavelength.attrs.get('units')}; write both in one unit"
        )
    bands = int(array.sizes[band])
    gain, offset = (_number(path, array, key) for key in ("scale_factor", "add_offset"))
    scaled = gain is not None or offset is not None
    return OpenedCube(
        path=path,
        files=(path,),
        data=data[:, ::-1, :] if place.upside_down else data,
        wavelength=None if wavelength is None else np.asarray(wavelength, dtype=np.float64),
        wavelength_units=None if wavelength is None else wavelength.attrs.get("units"),
        wavelength_source="none in the file" if wavelength is None else f"variable '{wavelength.name}'",
        fwhm=None if fwhm is None else np.asarray(fwhm, dtype=np.float64),
        good_band=None if good is None else np.asarray(good) > 0,
        fill=_fill(path, array),
        gain=np.full(bands, 1.0 if gain is None else gain) if scaled else None,
        offset=None if offset is None else np.full(bands, offset),
        gain_source=f"'scale_factor' and 'add_offset' of '{array.name}'" if scaled else "none in the file",
        limits=_limits(path, array, gain, offset),
        quantity=_quantity(dataset, array),
        transform=place.transform,
        crs=place.crs,
        notes=axes.notes,
    )


def _quantity(dataset: xr.Dataset, array: xr.DataArray) -> str | None:
    """Return what the numbers are, by the store's attribute, the standard name or the array's own, if one says so."""
    if dataset.attrs.get("quantity") in _QUANTITIES:
        return str(dataset.attrs["quantity"])
    words = re.split(r"[^a-z]+", f"{array.attrs.get('standard_name', '')} {array.name}".lower())
    named = [quantity for quantity in _QUANTITIES if quantity in words]
    return named[0] if len(named) == 1 else None


def _limits(path: Path, array: xr.DataArray, gain: float | None, offset: float | None) -> tuple[float, float] | None:
    """Return the least and the largest stored number of what was measured; none where the file names neither.

    Limits in the type of whole stored numbers are such numbers, floating-point ones are of what is made of them.
    """
    found = {key: np.asarray(array.attrs[key]) for key in _LIMITS if key in array.attrs}
    if not found:
        return None
    sizes = {key: 2 if key == "valid_range" else 1 for key in found}
    if any(value.dtype.kind not in "iuf" or value.size != sizes[key] for key, value in found.items()) or (
        "valid_range" in found and len(found) > 1
    ):
        raise CubeError(
            f"{path}: '{array.name}': {found} are no limits of valid numbers; correct them, or leave them out"
        )
    both = found.get("valid_range", [found.get("valid_min", -math.inf), found.get("valid_max", math.inf)])
    low, high = (float(np.ravel(limit)[0]) for limit in both)
    if array.dtype.kind in "iu" and any(value.dtype.kind == "f" for value in found.values()):
        low, high = sorted((limit - (offset or 0.0)) / (gain or 1.0) for limit in (low, high))
    return low, high


def _read(path: Path, array: xr.DataArray, part: tuple[slice, ...]) -> Any:
    with _reading(path, f"an array: '{array.name}'"):
        return array[part].to_numpy()


def _wavelength(dataset: xr.Dataset) -> Any:
    """Return the variable of band centres, one with a standard name before others; none if there is none."""
    lists = [array for array in dataset.variables if dataset[array].ndim == 1 and dataset[array].dtype.kind in "iuf"]
    named = [dataset[name] for name in lists if dataset[name].attrs.get("standard_name") in _STANDARD]
    named += [dataset[name] for name in lists if str(name).lower() in _WAVELENGTH]
    return named[0] if named else None


def _along(dataset: xr.Dataset, names: set[str], band: Any) -> Any:
    found = [dataset[name] for name in dataset.variables if str(name).lower() in names]
    return next((array for array in found if array.dims == (band,) and array.dtype.kind in "biuf"), None)


def _chosen(path: Path, dataset: xr.Dataset, variable: str | None) -> xr.DataArray:
    wavelength = _wavelength(dataset)
    cubes = {
        str(name): array.dims
        for name, array in sorted(dataset.data_vars.items())
        if array.ndim == 3 and array.dtype.kind in "iuf" and (wavelength is None or wavelength.dims[0] in array.dims)
    }
    if variable is not None and variable not in cubes:
        raise CubeError(f"{path}: no array '{variable}' of 3 dimensions with bands; found: {cubes or 'none'}")
    if variable is None and len(cubes) != 1:
        raise CubeError(
            f"{path}: expected one array of 3 dimensions with a wavelength for each band, found: {cubes or 'none'}; "
            "name the 'variable', or export the cube as ENVI"
        )
    return dataset[variable or next(iter(cubes))]


def _band_dim(path: Path, array: xr.DataArray, wavelength: Any) -> Any:
    if wavelength is not None:
        return wavelength.dims[0]
    named = [dim for dim in array.dims if str(dim).lower() in _BAND_DIMS]
    if len(named) != 1:
        raise CubeError(
            f"{path}: which dimension of '{array.name}' {array.dims} are the bands? give it a coordinate 'wavelength' "
            "with units"
        )
    return named[0]


def _refuse_other(path: Path, array: xr.DataArray, size: int) -> None:
    if "_Unsigned" in array.attrs:
        raise CubeError(f"{path}: '{array.name}': attribute '_Unsigned' is not supported; store unsigned numbers")
    if 0 in array.shape:
        raise CubeError(f"{path}: '{array.name}' is empty {array.shape}; copy it again")
    refuse_inflation(path, str(array.name), math.prod(array.shape) * array.dtype.itemsize, size)


def _number(path: Path, array: xr.DataArray, key: str) -> float | None:
    if key not in array.attrs:
        return None
    value = np.asarray(array.attrs[key])
    if value.dtype.kind not in "iuf" or value.size != 1 or not np.isfinite(value).all():
        raise CubeError(f"{path}: '{array.name}': attribute '{key}' must be a number, found {array.attrs[key]!r}")
    return float(value.ravel()[0])


def _fill(path: Path, array: xr.DataArray) -> float | None:
    found = {}
    for key in ("_FillValue", "missing_value"):
        if key in array.attrs:
            value = np.asarray(array.attrs[key])
            if value.dtype.kind not in "iuf" or value.size != 1:
                raise CubeError(f"{path}: '{array.name}': attribute '{key}' must be a number, found {value}")
            found[key] = float(value.ravel()[0])
    if len({repr(value) for value in found.values()}) > 1:
        raise CubeError(f"{path}: '{array.name}': {found} contradict each other; keep one")
    return next(iter(found.values()), None)
