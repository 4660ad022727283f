"""Ours and the packaged ways from a store to statistics of plots, each as one function; measures only its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import dask
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
import zarr
from rasterio.features import rasterize

from focus_core.aggregation import plot_spectra
from focus_core.cubes.schema import CUBE, SCALE
from focus_core.cubes.store import open_store, pixel_grid, zarr_store

Values = dict[str, npt.NDArray[np.float64]]


class Spent(NamedTuple):
    """Time of one method, s."""

    wall: float
    cpu: float
    """Of all threads of the process: what other work on the machine does not change."""


def _now() -> Spent:
    return Spent(time.perf_counter(), time.process_time())


def _since(started: Spent) -> Spent:
    return Spent(*(now - before for now, before in zip(_now(), started, strict=True)))


def _read(uri: str, plots: gpd.GeoDataFrame) -> tuple[Spent, Values]:
    """Decode every chunk and drop it: the floor of anything that reads the store."""
    array: Any = zarr.open_group(zarr_store(uri), mode="r")["reflectance"]
    started = _now()
    steps = [
        [slice(lo, min(lo + step, size)) for lo in range(0, size, step)]
        for size, step in zip(array.shape, array.chunks, strict=True)
    ]
    one = dask.delayed(lambda *place: np.asarray(array[place]).size)
    dask.compute(*(one(band, y, x) for band in steps[0] for y in steps[1] for x in steps[2]))
    return _since(started), {}


def _focus(uri: str, plots: gpd.GeoDataFrame) -> tuple[Spent, Values]:
    started = _now()
    found = plot_spectra(uri, plots).compute()
    return _since(started), {name: found[name].to_numpy() for name in ("mean", "std")}


def _flox(uri: str, plots: gpd.GeoDataFrame) -> tuple[Spent, Values]:
    """Pixels by the plot that their centre lies in; mean and spread in one graph."""
    from flox.xarray import xarray_reduce

    started = _now()
    cube = open_store(uri, CUBE)
    shapes = _in_pixels(uri, plots)
    labels = rasterize(zip(shapes, range(len(shapes)), strict=True), cube["valid"].shape, fill=-1, dtype=np.int32)
    by = xr.DataArray(labels, dims=("y", "x"), name="number")
    wanted = {"expected_groups": np.arange(len(shapes)), "fill_value": np.nan}
    parts = [xarray_reduce(cube["reflectance"], by, func=func, **wanted) for func in ("mean", "std")]
    mean, std = dask.compute(*parts)
    spent = _since(started)
    return spent, {
        name: part.transpose("number", "band").to_numpy().astype(np.float64)
        for name, part in (("mean", mean), ("std", std))
    }


def _xvec(uri: str, plots: gpd.GeoDataFrame) -> tuple[Spent, Values]:
    """Pixels by centre, mean only: a second statistic would be a second pass."""
    import xvec  # noqa: F401 - registers the accessor

    started = _now()
    cube = open_store(uri, CUBE)
    found = cube["reflectance"].xvec.zonal_stats(plots.geometry, "x", "y", stats="mean", method="rasterize").compute()
    spent = _since(started)
    return spent, {"mean": found.transpose("geometry", "band").to_numpy().astype(np.float64)}


def _exactextract(uri: str, plots: gpd.GeoDataFrame) -> tuple[Spent, Values]:
    """Take the cube from memory, as whole numbers: reading it is not counted."""
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    group: Any = zarr.open_group(zarr_store(uri), mode="r")
    cube = group["reflectance"][:]
    started = _now()
    rows = cube.shape[1]
    upright = [shapely.transform(shape, lambda xy: [0.0, rows] + xy * [1.0, -1.0]) for shape in _in_pixels(uri, plots)]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(one)} for one in upright]
    bands = [NumPyRasterSource(band, name=f"b{number}") for number, band in enumerate(cube)]
    table = exact_extract(bands, features, ["mean", "stdev"], output="pandas")
    spent = _since(started)
    columns = {name: [f"b{number}_{name}" for number in range(len(cube))] for name in ("mean", "stdev")}
    if len(cube) == 1:
        columns = {name: [name] for name in columns}
    mean, std = (table[columns[name]].to_numpy() * SCALE for name in ("mean", "stdev"))
    return spent, {"mean": mean, "std": std}


def _in_pixels(uri: str, plots: gpd.GeoDataFrame) -> list[Any]:
    grid = pixel_grid(open_store(uri, CUBE), uri)
    return [grid.to_pixels(shape) for shape in plots.geometry]


METHODS: dict[str, Callable[[str, gpd.GeoDataFrame], tuple[Spent, Values]]] = {
    "read": _read,
    "focus": _focus,
    "flox": _flox,
    "xvec_rasterize": _xvec,
    "exactextract": _exactextract,
}
"""Each takes a store and plots and returns what it spent and its statistics."""
