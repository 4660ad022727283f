"""GeoTIFF cubes with a wavelength on every band, as EnMAP-Box and GDAL write them.

Reads per-band tags itself, because rioxarray keeps those of the first band only.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from focus_core.cubes.readers.protocol import READ_PX, OpenedCube
from focus_core.errors import CubeError

_OPENING = threading.Lock()


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """Open a TIFF with rasterio, never another format that GDAL might see in it.

    Raises
    ------
    CubeError
        If it cannot be opened or read.
    """
    try:
        # Whether a file needs a georeference is the campaign's to say; filters are not safe between threads.
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = rasterio.open(path, driver="GTiff")
        with file:
            yield file
    except RasterioError as error:
        raise CubeError(f"{path}: cannot be read as GeoTIFF ({error}); copy the file again") from error


class _Bands:
    """Array-like view ``(band, y, x)`` of a raster file; opened at each read, so that threads share nothing."""

    ndim = 3

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        bands, rows, cols = (range(*part.indices(length)) for part, length in zip(key, self.shape, strict=True))
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        with open_raster(self.path) as file:
            values = file.read(indexes=[band + 1 for band in bands], window=window)
        return np.asarray(values[:, :: rows.step, :: cols.step])


def open_geotiff(path: Path) -> OpenedCube:
    """Open a GeoTIFF cube lazily.

    Raises
    ------
    CubeError
        If it is not a readable TIFF, is rotated, or its bands name wavelengths in different units.
    """
    with open_raster(path) as file:
        return _opened(path, file)


def _opened(path: Path, file: Any) -> OpenedCube:
    if len(set(file.dtypes)) != 1 or np.dtype(file.dtypes[0]).kind not in "iuf":
        raise CubeError(f"{path}: all bands must hold real numbers of one type, found {sorted(set(file.dtypes))}")
    tags = [{key.lower(): value for key, value in file.tags(band).items()} for band in file.indexes]
    units = {tag["wavelength_units"] for tag in tags if "wavelength_units" in tag}
    if len(units) > 1:
        raise CubeError(f"{path}: bands name wavelengths in several units {sorted(units)}; use one")
    wavelength = _numbers(path, tags, "wavelength")
    good = _numbers(path, tags, "bbl")
    gain, offset = np.array(file.scales, dtype=np.float64), np.array(file.offsets, dtype=np.float64)
    scaled = bool((gain != 1.0).any() or (offset != 0.0).any())
    georeferenced = not file.transform.is_identity
    if georeferenced and not (file.transform.is_rectilinear and file.transform.b == 0.0 and file.transform.e < 0.0):
        raise CubeError(f"{path}: rotated or mirrored images are not read; resample north-up first")
    shape = (file.count, file.height, file.width)
    dtype = np.dtype(file.dtypes[0])
    data = da.from_array(
        _Bands(path, shape, dtype),
        chunks=(file.count, READ_PX, READ_PX),
        name=False,
        asarray=False,
        meta=np.empty((0, 0, 0), dtype),
    )
    return OpenedCube(
        path=path,
        files=(path,),
        data=data,
        wavelength=wavelength,
        wavelength_units=next(iter(units), None),
        wavelength_source="band tag 'wavelength'" if wavelength is not None else "none in the file",
        fwhm=_numbers(path, tags, "fwhm") if wavelength is not None else None,
        good_band=None if good is None else good > 0,
        fill=file.nodata,
        gain=gain if scaled else None,
        offset=offset if scaled else None,
        gain_source="band scales" if scaled else "none in the file",
        transform=file.transform if georeferenced else None,
        crs=file.crs if georeferenced else None,
    )


def _numbers(path: Path, tags: list[dict[str, str]], key: str) -> npt.NDArray[np.float64] | None:
    found = [tag.get(key) for tag in tags]
    if all(text is None for text in found):
        return None
    missing = [band + 1 for band, text in enumerate(found) if text is None]
    if missing:
        raise CubeError(f"{path}: band tag '{key}' is missing on bands {missing[:8]}; it must stand on all or none")
    try:
        return np.array([float(str(text)) for text in found], dtype=np.float64)
    except ValueError as error:
        raise CubeError(f"{path}: band tag '{key}': {error}") from error
