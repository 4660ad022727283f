"""Which axes of a CF array are rows and columns, and where its pixels lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - registers `.rio`
import xarray as xr
from rasterio import Affine

from focus_core.cubes.axes import PixelGrid, Shape2d
from focus_core.errors import CubeError

_Y = {"y", "lat", "latitude", "northing", "row", "rows", "line", "lines", "downtrack"}
_X = {"x", "lon", "longitude", "easting", "col", "cols", "column", "columns", "sample", "samples", "crosstrack"}
_STANDARD = {"projection_x_coordinate", "projection_y_coordinate", "longitude", "latitude"}
_EVEN = 0.01
"""Coordinates may stray from an even grid by this share of a pixel, which float32 coordinates need."""


@dataclass(frozen=True)
class HorizontalAxes:
    """Dimensions of rows and columns and their positions in the array."""

    y: Any
    x: Any
    positions: tuple[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where the pixels lie; nowhere if the file names no place."""

    transform: Any = None
    crs: Any = None
    upside_down: bool = False
    """Whether the file's first row is the southernmost."""


def horizontal_axes(path: Path, array: xr.DataArray, band: Any) -> HorizontalAxes:
    """Return which axes are rows and columns: by name, or in the file's own order where the names say nothing.

    Raises
    ------
    CubeError
        If the names of two axes mean the same.
    """
    rest = [dim for dim in array.dims if dim != band]
    known = [_kind(array, dim) for dim in rest]
    if known in (["y", None], [None, "x"], ["y", "x"], [None, None]):
        y, x = rest
    elif known in (["x", None], [None, "y"], ["x", "y"]):
        x, y = rest
    else:
        raise CubeError(f"{path}: '{array.name}': both {rest[0]} and {rest[1]} are {known[0]} axes; rename one")
    notes = () if "y" in known or "x" in known else (f"axes {rest[0]} and {rest[1]} read as rows and columns",)
    return HorizontalAxes(y, x, (array.dims.index(y), array.dims.index(x)), notes)


def _kind(array: xr.DataArray, dim: Any) -> str | None:
    attrs = array.coords[dim].attrs if dim in array.coords else {}
    words = {str(dim).lower(), str(attrs.get("axis", "")).lower(), str(attrs.get("standard_name", ""))}
    if words & {*_Y, "projection_y_coordinate"}:
        return "y"
    return "x" if words & {*_X, "projection_x_coordinate"} else None


def georeference(path: Path, dataset: xr.Dataset, array: xr.DataArray, axes: HorizontalAxes) -> Place:
    """Return where the pixels lie.

    Raises
    ------
    CubeError
        If coordinates are no even grid, run westwards, or contradict ``GeoTransform``.
    """
    try:
        crs = array.rio.crs
    except Exception as error:
        raise CubeError(f"{path}: the grid mapping of '{array.name}' is no CRS ({error}); correct it") from error
    if axes.x not in array.coords or axes.y not in array.coords:
        return Place()
    x, y = array.coords[axes.x], array.coords[axes.y]
    if crs is None and not {x.attrs.get("standard_name"), y.attrs.get("standard_name")} & _STANDARD:
        return Place()
    left, width = _even(path, x)
    top, height = _even(path, y)
    if width < 0.0:
        raise CubeError(f"{path}: '{x.name}' decreases; mirrored images are not read, sort it first")
    if height > 0.0:
        top += height * (len(y) - 1)
    transform = Affine(width, 0.0, left - width / 2, 0.0, -abs(height), top + abs(height) / 2)
    return Place(_exact(path, dataset, array, axes, transform), crs, upside_down=height > 0.0)


def _even(path: Path, coordinate: xr.DataArray) -> tuple[float, float]:
    """Return the first pixel's centre and the step."""
    values = np.asarray(coordinate, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        raise CubeError(f"{path}: '{coordinate.name}' must hold two finite positions or more; correct it")
    step = (values[-1] - values[0]) / (len(values) - 1)
    apart = np.abs(values - (values[0] + step * np.arange(len(values)))).max()
    if step == 0.0 or apart > _EVEN * abs(step):
        raise CubeError(f"{path}: '{coordinate.name}' is not evenly spaced; resample to one grid first")
    return float(values[0]), float(step)


def _exact(path: Path, dataset: xr.Dataset, array: xr.DataArray, axes: HorizontalAxes, transform: Affine) -> Affine:
    """Return the grid mapping's ``GeoTransform``, more exact than coordinates, if both agree to half a pixel."""
    name = array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping")
    text = dataset[name].attrs.get("GeoTransform") if name in dataset.variables else None
    if text is None:
        return transform
    try:
        exact = Affine.from_gdal(*(float(part) for part in str(text).split()))
    except (TypeError, ValueError) as error:
        raise CubeError(f"{path}: 'GeoTransform' of '{name}' must be six numbers: {error}") from error
    shape = Shape2d(array.sizes[axes.y], array.sizes[axes.x])
    if not PixelGrid(shape, transform).same_pixels(PixelGrid(shape, exact), tolerance_px=0.5):
        raise CubeError(f"{path}: 'GeoTransform' {text} contradicts the coordinates; correct one of them")
    return exact
