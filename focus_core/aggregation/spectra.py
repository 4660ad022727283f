"""Mean, standard deviation and area of every plot and band of a cube, in one pass over the store.

Knows the store's chunks and the plots on its grid; knows neither classes nor models. One task of the Dask graph reads
one chunk and keeps a few numbers for each plot in it, so memory is that of the chunks being read.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dask.array as da
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph
from rasterio.crs import CRS

from focus_core.aggregation.coverage import Coverage, coverage
from focus_core.aggregation.importance import areas
from focus_core.aggregation.moments import Moments, chunk_moments, merge
from focus_core.cubes.axes import PixelBox, PixelGrid
from focus_core.cubes.crs import same_crs
from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store, pixel_grid, zarr_store
from focus_core.errors import StoreError

_BRANCHES = 8
"""Parts merged in one task of the tree."""


def plot_spectra(cube_uri: str | Path, plots: gpd.GeoDataFrame) -> xr.Dataset:
    """Return the lazy statistics of each plot; only chunks that a plot reaches into are read, each once.

    A pixel counts by the share of it inside the polygon; plots may overlap. Pixels that the cube calls not ``valid``
    count nowhere, a value missing in one band does not count in that band. The standard deviation is the population's,
    with the same weights. The order of additions depends on the chunks alone, so every scheduler gives the same bits.

    Parameters
    ----------
    cube_uri
        As the schema ``CUBE`` says.
    plots
        Index of ids; polygons in the cube's CRS, or in pixels where it has none.

    Returns
    -------
    xarray.Dataset
        ``mean, std (plot, band)`` in the cube's unit; ``area_m2 (plot, band)``, the area that they speak for (without
        a CRS, pixels); ``n_eff (plot, band)``, ``(Σw)² / Σw²`` over pixels (Kish 1965); float64, NaN (area 0) for
        plots without a valid pixel.

    Raises
    ------
    StoreError
        If the CRS of plots and cube differ, or no plot reaches into the image.
    MissingInputError
        If there is no cube.
    """
    cube = open_store(cube_uri, CUBE)
    grid = pixel_grid(cube, str(cube_uri))
    _refuse_other_crs(grid, plots, str(cube_uri))
    shapes = np.array([grid.to_pixels(shape) for shape in plots.geometry], dtype=object)
    weight, square, mean, spread = _moments(cube_uri, shapes)
    attrs = {"units": "m2", "long_name": "area of the plot's valid pixels"}
    if grid.crs is None:
        attrs["note"] = "the cube has no CRS: pixels, not square metres"
    square_metres = areas(plots) / shapely.area(plots.geometry.to_numpy())  # of one unit by one: degrees differ
    area = weight * abs(grid.transform.determinant) * square_metres[:, None]
    seen = da.where(weight > 0.0, weight, np.nan)
    dims = ("plot", "band")
    return xr.Dataset(
        {
            "mean": (dims, da.where(weight > 0.0, mean, np.nan)),
            "std": (dims, da.sqrt(spread / seen)),
            "area_m2": (dims, area, attrs),
            "n_eff": (dims, seen**2 / square),
        },
        coords={
            "plot": np.array([str(plot) for plot in plots.index], dtype=np.dtypes.StringDType()),
            **{name: cube[name].load() for name in ("wavelength", "fwhm", "good_band")},
        },
        attrs={name: cube.attrs[name] for name in ("quantity", "campaign")},
    )


def _refuse_other_crs(grid: PixelGrid, plots: gpd.GeoDataFrame, where: str) -> None:
    other = None if plots.crs is None else CRS.from_wkt(plots.crs.to_wkt())
    if not same_crs(grid.crs, other):
        raise StoreError(f"'{where}' lies in {grid.crs}, the plots in {other}; give the plots in the cube's CRS")


def _moments(uri: str | Path, shapes: npt.NDArray[np.object_]) -> list[da.Array]:
    """Lazy ``(plot, band)`` of each moment, in the unit of the cube."""
    place = zarr_store(uri)
    group = zarr.open_group(place, mode="r")
    array: Any = group["reflectance"]
    valid = group["valid"]
    # The scale is left to the end: the stored numbers are exact, and half as wide.
    stored = xr.open_zarr(place, chunks=None, consolidated=False, mask_and_scale=False)["reflectance"].attrs
    missing = array.dtype.type(stored["_FillValue"]) if "_FillValue" in stored else np.nan
    bands, rows, cols = (_ranges(size, step) for size, step in zip(array.shape, array.chunks, strict=True))
    boxes = [PixelBox(top, left, down - top, right - left) for top, down in rows for left, right in cols]
    tree = shapely.STRtree(shapes)
    # A graph as it is: `dask.delayed` looks into every argument for more tasks, which takes a sixth of the reading.
    token, graph = uuid.uuid4().hex, dict[Any, Any]()
    parts: list[list[Any]] = [[] for _ in bands]
    for at, box in enumerate(boxes):
        near = np.sort(tree.query(shapely.box(box.col, box.row, box.col + box.cols, box.row + box.rows)))
        if near.size:
            found = (f"cover-{token}", at)
            graph[found] = (_cover, valid, shapes[near], near, box)
            for number, (lo, hi) in enumerate(bands):
                parts[number].append((f"read-{token}", number, at))
                graph[parts[number][-1]] = (_read, array, found, missing, slice(lo, hi), box)
    if not parts[0]:
        raise StoreError(f"'{uri}': no plot reaches into the image; give the plots of this flight")
    name = f"moments-{token}"
    scale, offset = (float(stored.get(key, other)) for key, other in (("scale_factor", 1.0), ("add_offset", 0.0)))
    for number, own in enumerate(parts):
        joined = _tree(graph, own, f"merge-{token}-{number}")
        graph[(name, 0, 0, number)] = (_dense, joined, len(shapes), scale, offset)
    layers = HighLevelGraph.from_collections(name, graph)
    return list(da.Array(layers, name, ((4,), (len(shapes),), tuple(hi - lo for lo, hi in bands)), dtype=np.float64))


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _cover(valid: Any, shapes: npt.NDArray[np.object_], numbers: npt.NDArray[np.int64], box: PixelBox) -> Coverage:
    return coverage(shapes, numbers, box, valid=np.asarray(valid[box.slices], dtype=np.bool_))


def _read(array: Any, cover: Coverage, missing: Any, bands: slice, box: PixelBox) -> Moments:
    if not cover.plots.size:
        return Moments(cover.plots, np.zeros((4, 0, bands.stop - bands.start)))
    return chunk_moments(np.asarray(array[(bands, *box.slices)]), cover, missing)


def _tree(graph: dict[Any, Any], parts: list[Any], name: str) -> Any:
    """Add the merging of some tasks to a graph, a few at a time; return the key of the last."""
    level = 0
    while len(parts) > 1:
        groups = [parts[at : at + _BRANCHES] for at in range(0, len(parts), _BRANCHES)]
        parts = [(name, level, at) for at in range(len(groups))]
        graph |= {key: (merge, group) for key, group in zip(parts, groups, strict=True)}
        level += 1
    return parts[0]


def _dense(part: Moments, plots: int, scale: float, offset: float) -> npt.NDArray[np.float64]:
    """All plots ``(4, plot, band)``, zero where a plot holds no pixel."""
    weight, square, mean, spread = part.values
    values = np.zeros((4, plots, weight.shape[1]))
    values[:, part.plots] = weight, square, mean * scale + offset, spread * scale**2
    return values
