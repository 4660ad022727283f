"""Readers of raw hyperspectral files: one function opens any of them, lazily, and decides by content."""

from __future__ import annotations

from pathlib import Path

from focus_core.cubes.readers.cf import open_netcdf, open_zarr
from focus_core.cubes.readers.envi import header_beside, open_envi
from focus_core.cubes.readers.hdf5 import arrays, open_hdf5, refuse_endless
from focus_core.cubes.readers.layer import Layer, open_layer
from focus_core.cubes.readers.matlab import open_matlab
from focus_core.cubes.readers.matlab73 import open_matlab73
from focus_core.cubes.readers.neon import is_neon, open_neon
from focus_core.cubes.readers.pages import open_tiff
from focus_core.cubes.readers.prisma import is_prisma, open_prisma
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.cubes.readers.sniff import Format, sniff
from focus_core.errors import CubeError, MissingInputError

__all__ = ["Layer", "OpenedCube", "open_layer", "open_raw"]


def open_raw(path: Path, *, variable: str | None = None) -> OpenedCube:
    """Open a raw cube without reading it.

    Parameters
    ----------
    path
        Data file, the header of an ENVI file, or the folder of a Zarr store.
    variable
        Name of the array, for files that hold several.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CubeError
        If it is of no known format or contradicts itself.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file; check the path")
    kind = sniff(path)
    if variable is not None and kind in (Format.TIFF, Format.ENVI_HEADER, Format.RAW):
        raise CubeError(f"{path}: holds one array, so there is no 'variable' {variable} to choose; leave it out")
    if kind in (Format.HDF5, Format.MATLAB_73):
        refuse_endless(path)
    match kind:
        case Format.TIFF:
            return open_tiff(path)
        case Format.MATLAB:
            return open_matlab(path, variable)
        case Format.MATLAB_73:
            return open_matlab73(path, variable)
        case Format.HDF5:
            return _open_by_layout(path, variable)
        case Format.ZARR:
            return open_zarr(path, variable)
        case Format.ENVI_HEADER:
            return open_envi(path)
    header = header_beside(path)
    if header is None:
        raise CubeError(
            f"{path}: neither TIFF, MATLAB, HDF5 nor NetCDF, and no ENVI header lies beside it "
            f"({path.name}.hdr or {path.stem}.hdr); name the file of a cube"
        )
    return open_envi(header, path)


def _open_by_layout(path: Path, variable: str | None) -> OpenedCube:
    """Open an HDF5 file by the objects in it: sensors and programs each have a layout of their own."""
    with open_hdf5(path) as file:
        found = arrays(path, file)
        neon, prisma = is_neon(found), is_prisma(found)
        matlab = any("MATLAB_class" in stored.attrs for stored in found.values())
        netcdf = any(stored.is_scale for stored in found.values())
    if neon:
        return open_neon(path)
    if prisma:
        return open_prisma(path)
    if matlab:
        return open_matlab73(path, variable)
    if netcdf:
        return open_netcdf(path, variable)
    raise CubeError(
        f"{path}: HDF5 of no known layout (NEON, PRISMA, NetCDF, EMIT, MATLAB), it holds {sorted(found)[:8]}; "
        "export the cube as ENVI, GeoTIFF or NetCDF"
    )
