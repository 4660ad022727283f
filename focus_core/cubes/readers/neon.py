"""Reflectance of NEON's Airborne Observation Platform (DP1.30006 and DP3.30006): HDF5, one site to a file.

Its scale and fill are attributes of its own, which readers of CF files leave unapplied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from focus_core.cubes.readers.hdf5 import arrays, lazy_array, line, number, open_hdf5, table, text
from focus_core.cubes.readers.map_info import read_map_info
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.errors import CubeError

_DATA = "/Reflectance/Reflectance_Data"


def is_neon(found: dict[str, Any]) -> bool:
    """Return whether the arrays of an HDF5 file are those of a NEON reflectance file."""
    return any(name.endswith(_DATA) for name in found)


def open_neon(path: Path) -> OpenedCube:
    """Open a NEON reflectance file lazily.

    Raises
    ------
    CubeError
        If it holds several sites, its lists do not fit its bands, or its scale contradicts itself.
    """
    with open_hdf5(path) as file:
        found = arrays(path, file)
        names = [name for name in found if name.endswith(_DATA)]
        if len(names) != 1:
            raise CubeError(f"{path}: expected the reflectance of one site, found {names}; split the file")
        site = names[0].removesuffix(_DATA)
        return _opened(path, found, f"{site}/Reflectance/Metadata", found[names[0]])


def _opened(path: Path, found: dict[str, Any], metadata: str, stored: Any) -> OpenedCube:
    data = lazy_array(path, stored, axes=(2, 0, 1))
    key = f"{metadata}/Spectral_Data/Wavelength"
    if key not in found:
        raise CubeError(f"{path}: '{key}' is missing; download the file again")
    wavelength, fwhm = (
        _of_bands(path, found, f"{metadata}/Spectral_Data/{name}", data.shape[0]) for name in ("Wavelength", "FWHM")
    )
    scale = number(path, stored, "Scale_Factor")
    if scale is not None and not scale > 0.0:
        raise CubeError(f"{path}: 'Reflectance_Data': attribute 'Scale_Factor' must be positive, found {scale:g}")
    transform, crs = _georeference(path, found, f"{metadata}/Coordinate_System")
    return OpenedCube(
        path=path,
        files=(path,),
        data=data,
        wavelength=wavelength,
        wavelength_units=text(found[key].attrs.get("Units")),
        wavelength_source=f"'{key}'",
        fwhm=fwhm,
        fill=number(path, stored, "Data_Ignore_Value"),
        gain=None if scale is None else np.full(data.shape[0], 1.0 / scale),
        gain_source="none in the file" if scale is None else f"attribute 'Scale_Factor' {scale:g}",
        quantity="reflectance",
        transform=transform,
        crs=crs,
    )


def _of_bands(path: Path, found: dict[str, Any], key: str, bands: int) -> Any:
    if key not in found:
        return None
    values = table(path, found[key])
    if len(values) != bands:
        raise CubeError(f"{path}: '{key}' holds {len(values)} numbers for {bands} bands; download the file again")
    return values


def _georeference(path: Path, found: dict[str, Any], where: str) -> tuple[Any, Any]:
    def refuse(key: str, message: str) -> CubeError:
        return CubeError(f"{path}: '{where}': '{key}': {message}")

    info = line(path, found[f"{where}/Map_Info"]) if f"{where}/Map_Info" in found else None
    if info is None:
        return None, None
    transform, crs = read_map_info([part.strip() for part in info.split(",")], "", refuse)
    epsg = line(path, found[f"{where}/EPSG Code"]) if f"{where}/EPSG Code" in found else None
    try:
        named = None if epsg is None else CRS.from_epsg(int(epsg))
    except (CRSError, ValueError) as error:
        raise refuse("EPSG Code", f"'{epsg}' is no CRS ({error}); correct it") from error
    if named is not None and crs is not None and named != crs:
        raise refuse("EPSG Code", f"{epsg} contradicts 'Map_Info' {info}; correct one of them")
    return transform, named or crs
