"""Mean, standard deviation and area of every plot and band of a cube, in one pass over the store.

Knows the store's chunks and the plots on its grid; knows neither classes nor models. One task of the Dask graph reads
one chunk and keeps a few numbers for each plot in it, so memory is that of the chunks being read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
import zarr
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from focus_core.aggregation.coverage import Coverage, coverage
from focus_core.aggregation.moments import Moments, chunk_moments, merge
from focus_core.cubes.axes import PixelBox, PixelGrid
from focus_core.cubes.crs import same_crs
from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store, pixel_grid, zarr_store
from focus_core.cubes.trim import metres_per_unit
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
    area = weight * abs(grid.transform.determinant) * metres_per_unit(plots.crs) ** 2
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
    if (grid.crs is None) != (other is None) or (other is not None and not same_crs(grid.crs, other)):
        raise StoreError(f"'{where}' lies in {grid.crs}, the plots in {other}; give the plots in the cube's CRS")


def _moments(uri: str | Path, shapes: npt.NDArray[np.object_]) -> list[da.Array]:
    """Lazy ``(plot, band)`` of each moment, in the unit of the cube."""
    place = zarr_store(uri)
    group = zarr.open_group(place, mode="r")
    array: Any = group["reflectance"]
    # The scale is left to the end: the stored numbers are exact, and half as wide.
    stored = xr.open_zarr(place, chunks=None, consolidated=False, mask_and_scale=False)["reflectance"].attrs
    missing = float(stored.get("_FillValue", np.nan))
    bands, rows, cols = (_ranges(size, step) for size, step in zip(array.shape, array.chunks, strict=True))
    boxes = [PixelBox(top, left, down - top, right - left) for top, down in rows for left, right in cols]
    tree = shapely.STRtree(shapes)
    cover, read = dask.delayed(_cover), dask.delayed(_read)
    parts: list[list[Any]] = [[] for _ in bands]
    for box in boxes:
        near = np.sort(tree.query(shapely.box(box.col, box.row, box.col + box.cols, box.row + box.rows)))
        if near.size:
            found = cover(group["valid"], list(shapes[near]), near.tolist(), box)
            for own, (lo, hi) in zip(parts, bands, strict=True):
                own.append(read(array, found, missing, slice(lo, hi), box))
    if not parts[0]:
        raise StoreError(f"'{uri}': no plot reaches into the image; give the plots of this flight")
    finish = dask.delayed(_dense)
    scale, offset = (float(stored.get(name, other)) for name, other in (("scale_factor", 1.0), ("add_offset", 0.0)))
    dense = [
        da.from_delayed(finish(_tree(own), len(shapes), scale, offset), (4, len(shapes), hi - lo), dtype=np.float64)
        for own, (lo, hi) in zip(parts, bands, strict=True)
    ]
    return list(da.concatenate(dense, axis=2))


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _cover(valid: Any, shapes: Sequence[BaseGeometry], numbers: Sequence[int], box: PixelBox) -> Coverage:
    return coverage(shapes, numbers, box, valid=np.asarray(valid[box.slices], dtype=np.bool_))


def _read(array: Any, cover: Coverage, missing: float, bands: slice, box: PixelBox) -> Moments:
    if not cover.plots.size:
        return Moments(cover.plots, np.zeros((4, 0, bands.stop - bands.start)))
    return chunk_moments(np.asarray(array[(bands, *box.slices)]), cover, missing)


def _tree(parts: list[Any]) -> Any:
    join = dask.delayed(merge)
    while len(parts) > 1:
        parts = [join(parts[at : at + _BRANCHES]) for at in range(0, len(parts), _BRANCHES)]
    return parts[0]


def _dense(part: Moments, plots: int, scale: float, offset: float) -> npt.NDArray[np.float64]:
    """All plots ``(4, plot, band)``, zero where a plot holds no pixel."""
    weight, square, mean, spread = part.values
    values = np.zeros((4, plots, weight.shape[1]))
    values[:, part.plots] = weight, square, mean * scale + offset, spread * scale**2
    return values
