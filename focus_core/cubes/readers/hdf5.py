"""What every HDF5 file has in common: arrays that are read piece by piece, and nothing outside the file.

Knows HDF5's objects; the layouts that sensors and programs make of them are the other modules'.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from focus_core.cubes.readers import hdf5_walk
from focus_core.cubes.readers.view import StoredArray, refuse_inflation
from focus_core.errors import CubeError

LARGEST_CHUNK = 2**29
"""Bytes of a piece that is unpacked at once."""
LARGEST_TABLE = 2**24
"""Bytes of a list of wavelengths, positions and the like."""
_MOST_OBJECTS = 10_000
_WALK_S = 60
"""Processor time in which the library must come to an end with a file's objects, seconds."""
_WALK_BYTES = 2**32


def refuse_endless(path: Path) -> None:
    """Refuse a damaged file with which the HDF5 library comes to no end, or crashes; another process finds out.

    Raises
    ------
    CubeError
        If it does.
    """
    command = [sys.executable, "-I", hdf5_walk.__file__, str(path.absolute()), str(_WALK_S), str(_WALK_BYTES)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a pool of threads would count as memory
    walked = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if walked.returncode:
        raise CubeError(
            f"{path}: damaged: the HDF5 library crashes on it, or comes to no end within {_WALK_S} s of processor time "
            f"and {_WALK_BYTES >> 20} MiB of memory; copy the file again"
        )


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read.

    Raises
    ------
    CubeError
        If it cannot be opened or read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except CubeError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError) as error:
        raise CubeError(f"{path}: cannot be read as HDF5 ({error}); copy the file again") from error


def arrays(path: Path, file: Any) -> dict[str, Any]:
    """Return every dataset of the file by its path, each checked to be whole and to lie inside.

    Raises
    ------
    CubeError
        If a link, external or virtual array leads to another file, or there is no end of objects.
    """
    found: dict[str, Any] = {}
    _collect(path, file, "", found, {_address(file)})
    return found


def _address(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _collect(path: Path, group: Any, prefix: str, found: dict[str, Any], seen: set[int]) -> None:
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise CubeError(f"{path}: '{prefix}{name}' is a link to another file; copy its data into this one")
        item = group.get(name)
        if isinstance(item, h5py.Dataset):
            found[prefix + name] = item
        elif isinstance(item, h5py.Group) and _address(item) not in seen:
            seen.add(_address(item))
            _collect(path, item, f"{prefix}{name}/", found, seen)
        if len(found) + len(seen) > _MOST_OBJECTS:
            raise CubeError(f"{path}: more than {_MOST_OBJECTS} objects; this is no hyperspectral cube")


def lazy_array(path: Path, dataset: Any, axes: tuple[int, int, int]) -> Any:
    """Return the dask array ``(band, y, x)`` of a dataset, opened anew at each read.

    Parameters
    ----------
    path
        The file.
    dataset
        An open dataset of three dimensions.
    axes
        Position in the dataset of band, y and x.

    Raises
    ------
    CubeError
        If it lies in another file, holds no real numbers, or cannot be read piece by piece.
    """
    refuse_unreadable(path, dataset)
    read = partial(_read, path, dataset.name)
    return StoredArray(read, dataset.shape, dataset.dtype, axes).lazy()


def _read(path: Path, name: str, part: tuple[slice, ...]) -> Any:
    with open_hdf5(path) as file:
        return file[name][part]


def refuse_unreadable(path: Path, dataset: Any) -> None:
    """Refuse a dataset that is no cube of real numbers in this file, or cannot be read piece by piece.

    Raises
    ------
    CubeError
        Naming the dataset and what to do.
    """
    name = dataset.name.lstrip("/")
    if dataset.is_virtual or dataset.external:
        raise CubeError(f"{path}: '{name}' lies in another file; copy its data into this one")
    if dataset.dtype.kind not in "iuf" or dataset.ndim != 3 or 0 in dataset.shape:
        raise CubeError(f"{path}: '{name}' must be real numbers in 3 dimensions, found {dataset.dtype} {dataset.shape}")
    size = path.stat().st_size
    refuse_inflation(path, name, math.prod(dataset.shape) * dataset.dtype.itemsize, size)
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK:
        raise CubeError(f"{path}: '{name}' has chunks of {dataset.chunks}, too large to read in pieces; rechunk it")
    filters = dataset.id.get_create_plist()
    codes = [filters.get_filter(index)[0] for index in range(filters.get_nfilters())]
    absent = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if absent:
        raise CubeError(f"{path}: '{name}' is packed with HDF5 filter {absent[0]}, not known here; repack with gzip")


def table(path: Path, dataset: Any) -> Any:
    """Return a small dataset, such as the wavelengths, as an array ``(n,)`` of float64.

    Raises
    ------
    CubeError
        If it is no list of numbers, or too long for one.
    """
    name = dataset.name.lstrip("/")
    if dataset.size is None or dataset.size * dataset.dtype.itemsize > LARGEST_TABLE or dataset.dtype.kind not in "iuf":
        raise CubeError(f"{path}: '{name}' must be a list of numbers, found {dataset.dtype} {dataset.shape}")
    return np.asarray(dataset[()], dtype=np.float64).ravel()


def line(path: Path, dataset: Any) -> str | None:
    """Return a dataset that is one text.

    Raises
    ------
    CubeError
        If it holds many.
    """
    if dataset.size != 1:
        raise CubeError(f"{path}: '{dataset.name.lstrip('/')}' must be one text, found {dataset.dtype} {dataset.shape}")
    return text(dataset[()])


def number(path: Path, dataset: Any, key: str) -> float | None:
    """Return an attribute that is a number, or none where it is missing.

    Raises
    ------
    CubeError
        If it is something else.
    """
    value = np.asarray(dataset.attrs[key]) if key in dataset.attrs else None
    if value is None:
        return None
    if value.dtype.kind not in "iuf" or value.size != 1:
        raise CubeError(f"{path}: '{dataset.name.lstrip('/')}': attribute '{key}' must be a number, found {value}")
    return float(value.ravel()[0])


def text(value: Any) -> str | None:
    """Return the text of an attribute or a dataset's content, whatever way it was written; none where there is none."""
    if value is None:
        return None
    first = np.asarray(value).ravel()[:1]
    if not len(first):
        return None
    return first[0].decode("utf-8", errors="replace") if isinstance(first[0], bytes) else str(first[0])
