"""TIFF files with a page for each band, as HyperLeaf2024 delivers its leaves: no wavelengths, mostly no georeference.

GDAL shows the first page only and lists the others; its list as rasterio sorts it is that of their names (1, 10, 100).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from focus_core.cubes.readers.geotiff import open_geotiff, open_raster, refuse_masked, upright
from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.cubes.readers.view import StoredArray, refuse_inflation
from focus_core.errors import CubeError

_MOST_PAGES = 10_000


def open_tiff(path: Path) -> OpenedCube:
    """Open a TIFF lazily: one image with all bands, or a page for each band.

    Raises
    ------
    CubeError
        If it is not readable, or its pages differ.
    """
    with open_raster(path) as file:
        pages = max(len(file.subdatasets), 1)
    _refuse_cut(path, pages)
    return open_geotiff(path) if pages < 2 else _open_pages(path, pages)


def _refuse_cut(path: Path, pages: int) -> None:
    """Follow the chain of pages to its end: where it is cut off, GDAL shows those before and says nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
        large = head[2:4] in (b"+\0", b"\0+")
        pointer, counter, entry = (8, 8, 20) if large else (4, 2, 12)
        at, seen = int.from_bytes(head[pointer : 2 * pointer], order), 0
        while at:
            file.seek(at)
            entries = int.from_bytes(file.read(counter), order)
            end = at + counter + entry * entries
            if seen == _MOST_PAGES:
                raise CubeError(f"{path}: more than {_MOST_PAGES} pages, which no hyperspectral cube has")
            if end + pointer > size:
                raise CubeError(f"{path}: cut off after page {seen}; copy it again")
            file.seek(end)
            at, seen = int.from_bytes(file.read(pointer), order), seen + 1
    if seen < pages:
        raise CubeError(f"{path}: {pages} pages are listed, {seen} are there; copy it again")


class _Page(NamedTuple):
    """What must be alike in all pages; NaN is no number that equals itself, so what is missing is kept as text."""

    bands: int
    rows: int
    cols: int
    dtype: str
    missing: str

    def __str__(self) -> str:
        told = f"{self.bands} band(s) of {self.rows} × {self.cols} px of {self.dtype}"
        return told if self.missing == "None" else f"{told} with {self.missing} where missing"


def _open_pages(path: Path, pages: int) -> OpenedCube:
    kinds, gain, offset = [], np.ones(pages), np.zeros(pages)
    for index in range(pages):
        with open_raster(path, page=index + 1) as file:
            kinds.append(_Page(file.count, file.height, file.width, file.dtypes[0], str(file.nodata)))
            refuse_masked(path, file)
            gain[index], offset[index] = file.scales[0], file.offsets[0]
            if index == 0:
                fill, transform, crs = file.nodata, upright(path, file), file.crs
    other = next((index for index, kind in enumerate(kinds) if kind != kinds[0] or kind.bands != 1), None)
    if other is not None:
        raise CubeError(
            f"{path}: page {other + 1} holds {kinds[other]}, page 1 {kinds[0]}; "
            "a TIFF of many pages is read where each is one band of one image"
        )
    shape, dtype = (pages, kinds[0].rows, kinds[0].cols), np.dtype(kinds[0].dtype)
    refuse_inflation(path, "pages", pages * shape[1] * shape[2] * dtype.itemsize, path.stat().st_size)
    scaled = bool((gain != 1.0).any() or (offset != 0.0).any())
    return OpenedCube(
        path=path,
        files=(path,),
        data=StoredArray(partial(_read, path), shape, dtype, (0, 1, 2)).lazy(),
        wavelength_source="none in the file",
        fill=fill,
        gain=gain if scaled else None,
        offset=offset if scaled else None,
        gain_source="scale of each page" if scaled else "none in the file",
        transform=transform,
        crs=None if transform is None else crs,
        notes=(f"{pages} pages, each read as a band",),
    )


def _read(path: Path, part: tuple[slice, ...]) -> npt.NDArray[Any]:
    band, row, col = part
    planes = []
    for page in range(band.start + 1, band.stop + 1):
        with open_raster(path, page=page) as file:
            planes.append(file.read(1, window=((row.start, row.stop), (col.start, col.stop))))
    return np.stack(planes)
