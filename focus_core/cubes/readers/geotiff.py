"""GeoTIFF cubes, one image with all bands, whose wavelengths `band_tags` finds; read with rasterio."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from focus_core.cubes.readers.band_tags import read_band_tags
from focus_core.cubes.readers.protocol import OpenedCube, same_folder
from focus_core.cubes.readers.view import StoredArray, refuse_inflation
from focus_core.errors import CubeError

_OPENING = threading.Lock()


@contextmanager
def open_raster(path: Path, *, page: int | None = None) -> Iterator[Any]:
    """Open a TIFF with rasterio, never another format that GDAL might see in it.

    Parameters
    ----------
    path
        The file.
    page
        Which of its images, counted from 1; by default the first.

    Raises
    ------
    CubeError
        If it cannot be opened or read.
    """
    try:
        # Whether a file needs a georeference is the campaign's to say; filters are not safe between threads.
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = rasterio.open(path if page is None else f"GTIFF_DIR:{page}:{path}", driver="GTiff")
        with file:
            yield file
    except RasterioError as error:
        raise CubeError(f"{path}: cannot be read as GeoTIFF ({error}); copy the file again") from error


def upright(path: Path, file: Any) -> Affine | None:
    """Return the transform of an open raster; none where it has no georeference.

    Raises
    ------
    CubeError
        If it is rotated or mirrored.
    """
    place: Affine = file.transform
    if place.is_identity:
        return None
    if not (place.is_rectilinear and place.b == 0.0 and place.e < 0.0):
        raise CubeError(f"{path}: rotated or mirrored images are not read; resample north-up first")
    return place


def refuse_masked(path: Path, file: Any) -> None:
    """Refuse an open raster that hides pixels by an alpha band or a mask, whose numbers would pass for data.

    Raises
    ------
    CubeError
        If it does.
    """
    alpha = ColorInterp.alpha in file.colorinterp  # no mask to GDAL where there are more than four bands
    if alpha or any(MaskFlags.per_dataset in flags for flags in file.mask_flag_enums):
        raise CubeError(
            f"{path}: hides pixels by {'an alpha band' if alpha else 'a mask'}, which is not read; "
            "export it without, and with a number for missing pixels (nodata)"
        )


def _read(path: Path, part: tuple[slice, ...]) -> Any:
    bands, rows, cols = part
    with open_raster(path) as file:
        return file.read(
            range(bands.start + 1, bands.stop + 1), window=((rows.start, rows.stop), (cols.start, cols.stop))
        )


def open_geotiff(path: Path) -> OpenedCube:
    """Open a GeoTIFF cube lazily.

    Raises
    ------
    CubeError
        If it is not a readable TIFF, is rotated, hides pixels by a mask, or its tags contradict each other.
    """
    with open_raster(path) as file:
        return _opened(path, file)


def _opened(path: Path, file: Any) -> OpenedCube:
    if len(set(file.dtypes)) != 1 or np.dtype(file.dtypes[0]).kind not in "iuf":
        raise CubeError(f"{path}: all bands must hold real numbers of one type, found {sorted(set(file.dtypes))}")
    tags = read_band_tags(path, file)
    gain, offset = np.array(file.scales, dtype=np.float64), np.array(file.offsets, dtype=np.float64)
    scaled = bool((gain != 1.0).any() or (offset != 0.0).any())
    refuse_masked(path, file)
    transform = upright(path, file)
    dtype = np.dtype(file.dtypes[0])
    refuse_inflation(path, "image", file.count * file.height * file.width * dtype.itemsize, path.stat().st_size)
    stored = StoredArray(partial(_read, path), (file.count, file.height, file.width), dtype, (0, 1, 2))
    return OpenedCube(
        path=path,
        files=tuple(same_folder(Path(name), path) for name in file.files),
        data=stored.lazy(),
        wavelength=tags.wavelength,
        wavelength_units=tags.units,
        wavelength_source=tags.source,
        fwhm=tags.fwhm,
        good_band=tags.good,
        fill=file.nodata,
        gain=gain if scaled else None,
        offset=offset if scaled else None,
        gain_source="band scales" if scaled else "none in the file",
        transform=transform,
        crs=None if transform is None else file.crs,
    )
