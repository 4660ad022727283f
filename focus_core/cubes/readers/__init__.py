"""Readers of raw hyperspectral files: one function opens any of them, lazily, and decides by content."""

from __future__ import annotations

from pathlib import Path

from focus_core.cubes.readers.envi import header_beside, open_envi
from focus_core.cubes.readers.geotiff import open_geotiff
from focus_core.cubes.readers.layer import Layer, open_layer
from focus_core.cubes.readers.matlab import open_matlab
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.cubes.readers.sniff import Format, sniff
from focus_core.errors import CubeError, MissingInputError

__all__ = ["Layer", "OpenedCube", "open_layer", "open_raw"]


def open_raw(path: Path, *, variable: str | None = None) -> OpenedCube:
    """Open a raw cube without reading it.

    Parameters
    ----------
    path
        Data file, or the header of an ENVI file.
    variable
        Name of the array, for files that hold several.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CubeError
        If it is of no known format or contradicts itself.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; check the path")
    kind = sniff(path)
    if kind is Format.GEOTIFF:
        return open_geotiff(path)
    if kind is Format.MATLAB:
        return open_matlab(path, variable)
    if kind is Format.ENVI_HEADER:
        return open_envi(path)
    header = header_beside(path)
    if header is None:
        raise CubeError(
            f"{path}: neither GeoTIFF nor MATLAB, and no ENVI header lies beside it "
            f"({path.name}.hdr or {path.stem}.hdr)"
        )
    return open_envi(header, path)
