"""TIFF files with a page for each band, as HyperLeaf2024 has them: 204 pages of 48 × 352 px."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS

from focus_core.cubes.readers import open_raw
from focus_core.errors import CubeError

RNG = np.random.default_rng(0)


def write_pages(path: Path, pages: list[np.ndarray]) -> Path:
    images = [Image.fromarray(page) for page in pages]
    images[0].save(path, format="TIFF", save_all=True, append_images=images[1:])
    return path


def test_pages_come_back_in_their_order(tmp_path: Path) -> None:
    """Not in that of their names, which is 1, 10, 100."""
    leaf = RNG.integers(1, 65_535, (204, 48, 352)).astype(np.uint16)
    leaf[:, :9] = 0
    path = write_pages(tmp_path / "00001", list(leaf))
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), leaf)
    np.testing.assert_array_equal(found.data[:, 40:, 100:103].compute(), leaf[:, 40:, 100:103])
    assert (found.wavelength, found.transform, found.notes) == (None, None, ("204 pages, each read as a band",))
    with Image.open(path) as pages:
        pages.seek(99)
        np.testing.assert_array_equal(found.data[99].compute(), np.asarray(pages))


def write_page(path: Path, page: np.ndarray, **profile: object) -> None:
    """Append a page as GDAL does."""
    shape = {"count": 1, "height": page.shape[0], "width": page.shape[1], "dtype": page.dtype}
    if path.exists():
        profile["APPEND_SUBDATASET"] = "YES"
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(page, 1)


def test_what_pages_say_of_missing_pixels_scale_and_place_counts(tmp_path: Path) -> None:
    place = {"crs": CRS.from_epsg(32633), "transform": Affine(2.0, 0.0, 412_000.0, 0.0, -2.0, 5_821_000.0)}
    for page in RNG.integers(1, 99, (3, 4, 5)).astype(np.int16):
        write_page(tmp_path / "a.tif", page, nodata=-9, **place)
    found = open_raw(tmp_path / "a.tif")
    assert (found.fill, found.transform, found.crs, found.gain) == (-9, place["transform"], place["crs"], None)
    write_page(tmp_path / "a.tif", page, nodata=0, **place)
    with pytest.raises(CubeError, match=r"page 4 holds .* of int16 with 0\.0 where missing, page 1 .* with -9\.0 "):
        open_raw(tmp_path / "a.tif")


def test_pages_that_differ_are_refused(tmp_path: Path) -> None:
    pages = [np.ones((4, 5), np.uint16), np.ones((4, 5), np.uint16), np.ones((2, 2), np.uint16)]
    with pytest.raises(CubeError, match=r"page 3 holds 1 band\(s\) of 2 × 2 px of uint16, page 1 1 band\(s\) of 4 × 5"):
        open_raw(write_pages(tmp_path / "thumbnail.tif", pages))
    colours = [np.ones((4, 5, 3), np.uint8)] * 4
    with pytest.raises(CubeError, match=r"page 1 holds 3 band\(s\)"):
        open_raw(write_pages(tmp_path / "photos.tif", colours))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "leaf.tif", list(RNG.integers(1, 99, (5, 20, 30)).astype(np.uint16)))
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9):  # GDAL shows the two pages that half of the file holds, and no error
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CubeError, match=r"leaf\.tif"):
            open_raw(path).data.compute()
