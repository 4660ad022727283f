"""Mean and standard deviation of a cube's bands in each plot, by exact coverage, in one pass over the store.

Knows the store's chunks and the plots on its grid; does not know classes or models. One task of the Dask graph reads
one chunk and keeps a few numbers for each plot in it, so memory is that of the chunks in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
import zarr
from rasterio import Affine

from focus_core.aggregation.coverage import Coverage, coverage, to_pixels
from focus_core.aggregation.importance import metres_per_unit
from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.cubes.publish import local_path
from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store
from focus_core.errors import StoreError

_BRANCHES = 8
"""Parts merged in one task of the tree."""


class Moments(NamedTuple):
    """Moments of some pixels, for the plots that hold some of them."""

    plots: npt.NDArray[np.int64]
    """Plot numbers ``(row,)``, increasing."""
    values: npt.NDArray[np.float64]
    """``(3, row, band)``: ``Σw``, the weighted mean (0 without weight), and ``Σw·(x - mean)²``."""


class _Stored(NamedTuple):
    """Where the numbers of a cube lie and what they mean."""

    path: str
    fill: float | None
    scale: float
    offset: float


def plot_spectra(cube_uri: str | Path, plots: gpd.GeoDataFrame) -> xr.Dataset:
    """Return the lazy statistics of each plot; every chunk that a plot reaches into is read once.

    A pixel counts by the share of it inside the polygon. Pixels that the cube calls not ``valid`` count nowhere, a
    value missing in one band does not count in that band. The standard deviation is the population's, with the same
    weights. Sums are taken around a value of the chunk itself and parts are merged by their means (Chan, Golub and
    LeVeque 1983, *Algorithms for computing the sample variance*, The American Statistician 37), so that a large mean
    does not swallow a small variance; stored whole numbers are only scaled at the end.

    Parameters
    ----------
    cube_uri
        As the schema ``CUBE`` says.
    plots
        Index of ids; polygons in the cube's CRS, or in pixels where it has none.

    Returns
    -------
    xarray.Dataset
        ``mean, std (plot, band)`` in the cube's unit; ``area_m2 (plot)``, the valid area that they speak for;
        ``n_eff (plot)``, ``(Σw)² / Σw²`` over valid pixels; float64, NaN (area 0) for a plot without valid pixels.

    Raises
    ------
    StoreError
        If the CRS of plots and cube differ, or a plot lies outside the image.
    """
    cube = open_store(cube_uri, CUBE)
    grid = cube_grid(cube, str(cube_uri))
    _refuse_other_crs(grid, plots, cube_uri)
    shapes = to_pixels(plots, grid)
    _refuse_outside(shapes, plots, grid, cube_uri)
    areas, spectra = _sums(cube_uri, shapes, cube.sizes["band"])
    metres = metres_per_unit(plots.crs)
    total, square = areas[:, 0], areas[:, 1]
    weight, squares = spectra[:, 0], spectra[:, 2]
    seen = weight > 0
    attrs = {"units": "m2", "long_name": "area of the plot's valid pixels"}
    if grid.crs is None:
        attrs["note"] = "the cube has no CRS: pixels, not square metres"
    names = np.array([str(plot) for plot in plots.index], dtype=np.dtypes.StringDType())
    return xr.Dataset(
        {
            "mean": (("plot", "band"), da.where(seen, spectra[:, 1], np.nan)),
            "std": (("plot", "band"), da.sqrt(squares / da.where(seen, weight, np.nan))),
            "area_m2": ("plot", total * abs(grid.transform.determinant) * metres**2, attrs),
            "n_eff": ("plot", total**2 / da.where(square > 0, square, np.nan)),
        },
        coords={"plot": names, **{name: cube[name] for name in ("wavelength", "fwhm", "good_band")}},
        attrs={name: cube.attrs[name] for name in ("quantity", "campaign")},
    )


def cube_grid(cube: xr.Dataset, where: str) -> PixelGrid:
    """Return the pixel grid of a cube.

    Raises
    ------
    StoreError
        If ``spatial_ref`` holds no transform.
    """
    text = cube["spatial_ref"].attrs.get("GeoTransform")
    if text is None:
        raise StoreError(f"'{where}': 'spatial_ref' has no GeoTransform; run ingest again")
    transform = Affine.from_gdal(*(float(part) for part in str(text).split()))
    return PixelGrid(Shape2d(rows=cube.sizes["y"], cols=cube.sizes["x"]), transform, cube.rio.crs)


def chunk_boxes(array: zarr.Array[Any]) -> tuple[list[tuple[int, int]], list[PixelBox]]:
    """Return the band ranges and the pixel boxes of the chunks of an array ``(band, y, x)``."""
    bands, rows, cols = (
        [(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(array.shape, array.chunks, strict=True)
    )
    boxes = [PixelBox(top, left, down - top, right - left) for top, down in rows for left, right in cols]
    return bands, boxes


def _sums(uri: str | Path, shapes: npt.NDArray[np.object_], bands: int) -> tuple[da.Array, da.Array]:
    """Lazy ``(plot, 2)`` of ``Σw, Σw²`` and ``(plot, 3, band)`` of the moments."""
    path = local_path(uri)
    array = zarr.open_array(path / "reflectance", mode="r")
    attrs = array.attrs.asdict()
    raw = xr.open_zarr(path, chunks=None, consolidated=False, mask_and_scale=False)["reflectance"]
    fill = raw.attrs.get("_FillValue")
    stored = _Stored(
        str(path),
        None if fill is None or np.isnan(fill) else float(fill),
        float(attrs.get("scale_factor", 1.0)),
        float(attrs.get("add_offset", 0.0)),
    )
    ranges, boxes = chunk_boxes(array)
    tree, cover, read = shapely.STRtree(shapes), dask.delayed(_cover, pure=True), dask.delayed(_moments, pure=True)
    covers, parts = [], [[] for _ in ranges]  # type: ignore[var-annotated]
    for box in boxes:
        near = np.sort(tree.query(shapely.box(box.col, box.row, box.col + box.cols, box.row + box.rows)))
        if near.size:
            part = cover(str(path), shapely.to_wkb(shapes[near]).tolist(), near.tolist(), box)
            covers.append(dask.delayed(_areas, pure=True)(part))
            for own, band in zip(parts, ranges, strict=True):
                own.append(read(stored, part, band, box))
    finish = dask.delayed(_dense, pure=True)
    spectra = [
        da.from_delayed(finish(_tree(own), len(shapes), stored), (len(shapes), 3, hi - lo), dtype=np.float64)
        for own, (lo, hi) in zip(parts, ranges, strict=True)
    ]
    areas = dask.delayed(_dense_areas, pure=True)(covers, len(shapes))
    return da.from_delayed(areas, (len(shapes), 2), dtype=np.float64), da.concatenate(spectra, axis=2)


def _cover(path: str, shapes: Sequence[bytes], numbers: Sequence[int], box: PixelBox) -> Coverage:
    """Coverage of the valid pixels of a box."""
    found = coverage(shapely.from_wkb(list(shapes)).tolist(), numbers, box)
    valid = np.asarray(zarr.open_array(f"{path}/valid", mode="r")[box.slices], dtype=np.bool_).ravel()
    if not valid.all():
        found.share.data *= valid[found.share.indices]
    return found


def _areas(part: Coverage) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    square = part.share.copy()
    square.data **= 2
    return part.plots, np.stack([part.share.sum(axis=1), square.sum(axis=1)], axis=1)


def _dense_areas(
    parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]], plots: int
) -> npt.NDArray[np.float64]:
    total = np.zeros((plots, 2))
    for own, sums in parts:
        total[own] += sums
    return total


def _moments(stored: _Stored, part: Coverage, bands: tuple[int, int], box: PixelBox) -> Moments:
    """Read one chunk; each band is a sparse matrix-vector product, because a copy of the chunk costs more."""
    values = np.zeros((3, len(part.plots), bands[1] - bands[0]))
    chunk = np.asarray(zarr.open_array(f"{stored.path}/reflectance", mode="r")[bands[0] : bands[1], *box.slices])
    weight = part.share.sum(axis=1)
    for band, image in enumerate(chunk):
        x = image.ravel().astype(np.float64)
        missing = np.isnan(x) if stored.fill is None else x == stored.fill
        matrix, own = part.share, weight
        if missing.any():
            x[missing] = 0.0
            matrix = part.share.copy()
            matrix.data *= ~missing[matrix.indices]
            own = matrix.sum(axis=1)
        counted = matrix.indices[matrix.data > 0]
        if not counted.size:
            continue
        # Any whole number of the chunk will do: differences of stored numbers are then exact.
        shift = np.rint(x[counted[0]])
        x -= shift
        mean = np.divide(matrix @ x, own, out=np.zeros_like(own), where=own > 0)
        x *= x
        values[:, :, band] = own, np.where(own > 0, mean + shift, 0.0), np.maximum(matrix @ x - own * mean**2, 0.0)
    return Moments(part.plots, values)


def _tree(parts: list[Any]) -> Any:
    """Merge lazily; the order depends on the chunks alone, so every scheduler gives the same bits."""
    merge = dask.delayed(_merge, pure=True)
    while len(parts) > 1:
        parts = [merge(parts[at : at + _BRANCHES]) for at in range(0, len(parts), _BRANCHES)]
    return parts[0] if parts else None


def _merge(parts: Sequence[Moments]) -> Moments:
    plots, row = np.unique(np.concatenate([part.plots for part in parts]), return_inverse=True)
    weight, mean, squares = np.concatenate([part.values for part in parts], axis=1)
    total, middle, spread = np.zeros((3, len(plots), weight.shape[1]))
    np.add.at(total, row, weight)
    np.add.at(middle, row, weight * mean)
    np.divide(middle, total, out=middle, where=total > 0)
    np.add.at(spread, row, squares + weight * (mean - middle[row]) ** 2)
    return Moments(plots, np.stack([total, middle, spread]))


def _dense(part: Moments | None, plots: int, stored: _Stored) -> npt.NDArray[np.float64]:
    """All plots ``(plot, 3, band)``, in the unit of the cube."""
    if part is None:
        raise StoreError("expected at least one plot inside the image, found none")
    weight, mean, squares = part.values
    values = np.zeros((plots, 3, weight.shape[1]))
    values[part.plots] = np.stack([weight, mean * stored.scale + stored.offset, squares * stored.scale**2], axis=1)
    return values


def _refuse_other_crs(grid: PixelGrid, plots: gpd.GeoDataFrame, where: str | Path) -> None:
    own, other = grid.crs, plots.crs
    if (own is None) != (other is None) or (own is not None and not other.equals(own.to_wkt(), ignore_axis_order=True)):
        raise StoreError(f"'{where}' lies in {own}, the plots in {other}; give the plots in the cube's CRS")


def _refuse_outside(
    shapes: npt.NDArray[np.object_], plots: gpd.GeoDataFrame, grid: PixelGrid, where: str | Path
) -> None:
    image = shapely.box(0, 0, grid.shape.cols, grid.shape.rows)
    outside = shapely.area(shapely.intersection(shapes, image)) <= 0
    if outside.any():
        names = [str(name) for name in plots.index[outside][:5]]
        raise StoreError(f"the plots {names} lie outside '{where}' ({grid.shape}); give the plots of this flight")
