"""``explanation.zarr`` as maps: class, confidence and saliency by wavelength group, as cloud-optimised GeoTIFF.

Knows windows and their patches; works through the field stripe by stripe, so memory does not grow with its length.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window

from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.errors import StoreError

_STRIPE = 256
"""Rows written at once; also the side of a block of the files."""
NO_CLASS = 255


@dataclass(frozen=True)
class _Mosaic:
    """The windows of an explanation and the part of the cube's grid that they cover."""

    explanation: xr.Dataset
    row: npt.NDArray[np.int64]
    """First row of each window, counted from the map's."""
    col: npt.NDArray[np.int64]
    size: int
    """Side of a window, pixels of the cube."""
    grid: PixelGrid

    def blend(self, values: Callable[[slice], npt.NDArray[np.float64]], depth: int) -> Iterator[npt.NDArray[Any]]:
        """Yield stripes ``(depth, y, x)``: the mean over overlapping windows, weighted by coverage; NaN outside.

        ``values`` gives ``(tile, depth, y, x)`` of a slice of windows, ``y, x`` over the window or 1.
        """
        weight, chunk = self.explanation["coverage"].to_numpy(), max(self.explanation["logit"].chunksizes["tile"])
        for top in range(0, self.grid.shape.rows, _STRIPE):
            box = PixelBox(top, 0, min(_STRIPE, self.grid.shape.rows - top), self.grid.shape.cols)
            total, sums = np.zeros((box.rows, box.cols)), np.zeros((depth, box.rows, box.cols))
            near = np.flatnonzero((self.row < top + box.rows) & (self.row + self.size > top))
            for start in np.unique(near // chunk) * chunk:
                part = values(slice(start, start + chunk))
                for tile in near[(near >= start) & (near < start + chunk)]:
                    window = PixelBox(self.row[tile], self.col[tile], self.size, self.size)
                    common = window.intersect(box)
                    assert common is not None
                    target, source = common.within(box).slices, common.within(window).slices
                    pixels = np.broadcast_to(part[tile - start], (depth, self.size, self.size))
                    sums[(slice(None), *target)] += weight[tile] * pixels[(slice(None), *source)]
                    total[target] += weight[tile]
            with np.errstate(invalid="ignore"):
                yield sums / total


def write_maps(explanation: xr.Dataset, folder: Path, where: str) -> list[Path]:
    """Write the maps of one flight and return their paths.

    ``class.tif`` holds the index of the most probable class (`NO_CLASS` outside; names in the tags),
    ``confidence.tif`` its probability, ``saliency_<class>.tif`` a band for each wavelength group: importance in logit
    units that lies on the pixel, signed, NaN outside. Saliency is known by patch: a patch's value is divided evenly
    over its pixels, so that its sum is preserved. Where windows overlap, each counts by its coverage. Windows reach a
    little over the edge of their plot.

    Parameters
    ----------
    explanation
        As the schema ``EXPLANATION`` says.
    folder
        Where to write; it exists.
    where
        Name of the store, for errors.

    Raises
    ------
    StoreError
        If the store does not say where its windows lie.
    """
    mosaic = _place(explanation, where)
    names = [str(name) for name in explanation["cls"].to_numpy()]
    limits = (explanation[key].to_numpy() for key in ("group", "group_lo_nm", "group_hi_nm"))
    groups = [f"{name} {lo:g}-{hi:g} nm" for name, lo, hi in zip(*limits, strict=True)]
    probability = explanation["probability"].transpose("tile", "cls")

    def blended() -> Iterator[npt.NDArray[Any]]:
        return mosaic.blend(lambda part: probability[part].to_numpy()[:, :, None, None], len(names))

    told = {str(key): str(explanation.attrs[key]) for key in ("campaign", "model", "model_digest", "reference_class")}
    classes = {**told, "classes": ", ".join(f"{index} {name}" for index, name in enumerate(names))}
    paths = [
        _write(folder / "class.tif", mosaic.grid, ["class"], classes, map(_class_of, blended())),
        _write(folder / "confidence.tif", mosaic.grid, ["probability"], classes, map(_confidence, blended())),
    ]
    for index, name in enumerate(names):
        own = functools.partial(_saliency, explanation["saliency"].isel(cls=index), mosaic.size)
        tags = {**told, "class": name, "units": "logit per pixel"}
        stripes = mosaic.blend(own, len(groups))
        paths.append(_write(folder / f"saliency_{name}.tif", mosaic.grid, groups, tags, stripes))
    return paths


def _place(explanation: xr.Dataset, where: str) -> _Mosaic:
    attrs = explanation.attrs
    if "transform" not in attrs:
        raise StoreError(f"'{where}' does not say where its windows lie; run explain again")
    row, col, size = (explanation["row"].to_numpy(), explanation["col"].to_numpy(), int(attrs["window_px"]))
    box = PixelBox(row.min(), col.min(), row.max() - row.min() + size, col.max() - col.min() + size)
    crs = CRS.from_wkt(attrs["crs"]) if attrs["crs"] else None
    whole = PixelGrid(Shape2d(box.row + box.rows, box.col + box.cols), Affine(*attrs["transform"]), crs)
    return _Mosaic(explanation, row - box.row, col - box.col, size, whole.part(box))


def _class_of(stripe: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    known = np.isfinite(stripe[0])
    return np.where(known, np.where(known, stripe, 0.0).argmax(axis=0), NO_CLASS).astype(np.uint8)[None]


def _confidence(stripe: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return np.asarray(stripe.max(axis=0, keepdims=True), dtype=np.float32)


def _saliency(patches: xr.DataArray, size: int, part: slice) -> npt.NDArray[np.float64]:
    """Divide each patch of some windows evenly over its pixels ``(tile, group, y, x)``."""
    values = patches.isel(tile=part).transpose("tile", "group", "py", "px").to_numpy().astype(np.float64)
    for axis in (2, 3):
        of_patch = np.arange(size) * values.shape[axis] // size
        share = values / np.bincount(of_patch).reshape([-1 if other == axis else 1 for other in range(4)])
        values = share.take(of_patch, axis=axis)
    return values


def _write(
    path: Path, grid: PixelGrid, bands: Sequence[str], tags: Mapping[str, str], stripes: Iterable[npt.NDArray[Any]]
) -> Path:
    """Write stripes from top to bottom, then arrange the file for the cloud, with overviews."""
    plain = path.with_suffix(".plain.tif")
    whole = bands == ["class"]
    kind = {"dtype": "uint8", "nodata": NO_CLASS} if whole else {"dtype": "float32", "nodata": np.nan, "predictor": 3}
    shape = {"width": grid.shape.cols, "height": grid.shape.rows, "count": len(bands)}
    blocks = {"tiled": True, "blockxsize": _STRIPE, "blockysize": _STRIPE, "compress": "deflate"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a field in pixels has no CRS
        place = {"transform": grid.transform, "crs": grid.crs}
        with rasterio.open(plain, "w", driver="GTiff", **shape, **kind, **blocks, **place) as file:
            file.update_tags(**tags)
            for number, name in enumerate(bands, start=1):
                file.set_band_description(number, name)
            for number, stripe in enumerate(stripes):
                file.write(stripe, window=Window(0, number * _STRIPE, stripe.shape[2], stripe.shape[1]))
        copy_raster(
            plain, path, driver="COG", compress="deflate", predictor="yes", blocksize=2 * _STRIPE,
            overview_resampling="nearest" if whole else "average",
        )  # fmt: skip
    plain.unlink()
    return path
