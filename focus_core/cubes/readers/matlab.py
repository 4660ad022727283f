"""Arrays in MATLAB files up to version 7: the file is read whole, since its format allows nothing else.

Knows which variable is meant; knows nothing of wavelengths, which these files do not carry.
"""

from __future__ import annotations

import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import scipy.io

from focus_core.cubes.readers.protocol import READ_PX, OpenedCube
from focus_core.cubes.readers.view import refuse_inflation
from focus_core.errors import CubeError

_NUMERIC = {
    "double": 8, "single": 4, "logical": 1,
    "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
}  # fmt: skip


def open_matlab(path: Path, variable: str | None = None) -> OpenedCube:
    """Open the three-dimensional array ``(row, column, band)`` of a MATLAB file.

    Raises
    ------
    CubeError
        If there is no such array, or more than one and none is named.
    """
    values = read_matlab(path, variable, dims=3)
    data = da.from_array(values.transpose(2, 0, 1), chunks=(values.shape[2], READ_PX, READ_PX), name=False)
    return OpenedCube(path=path, files=(path,), data=data, wavelength_source="none in the file")


def read_matlab(path: Path, variable: str | None, *, dims: int) -> Any:
    """Return the numeric array of ``dims`` dimensions that is named, or the only one there is.

    Raises
    ------
    CubeError
        If the file cannot be read, or the array cannot be found.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = {
                name: shape
                for name, shape, kind in scipy.io.whosmat(path)
                if len(shape) == dims and kind in _NUMERIC and math.prod(shape) > 0
            }
            sizes = {name: _NUMERIC[kind] for name, _, kind in scipy.io.whosmat(path) if kind in _NUMERIC}
            name = choose_array(path, variable, found, dims)
            refuse_inflation(path, name, math.prod(found[name]) * sizes[name], path.stat().st_size)
            values = np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
    except CubeError:
        raise
    except (ValueError, TypeError, OSError, KeyError, EOFError, NotImplementedError, Warning, zlib.error) as error:
        raise CubeError(f"{path}: cannot be read as a MATLAB file ({error}); copy it again") from error
    if values.dtype.kind not in "iufb" or values.ndim != dims:
        raise CubeError(f"{path}: '{name}' must be real numbers in {dims} dimensions, found {values.dtype}")
    return values


def choose_array(path: Path, variable: str | None, found: dict[str, Any], dims: int) -> str:
    """Return the name of the array that is meant, among those found with their shapes.

    Raises
    ------
    CubeError
        If the named one is not there, or none is named and there is not exactly one.
    """
    listed = ", ".join(f"{name} {shape}" for name, shape in sorted(found.items())) or "none"
    if variable is not None and variable not in found:
        raise CubeError(f"{path}: no numeric array '{variable}' of {dims} dimensions; found: {listed}")
    if variable is None and len(found) != 1:
        raise CubeError(
            f"{path}: expected one numeric array of {dims} dimensions, found: {listed}; name the 'variable'"
        )
    return variable if variable is not None else next(iter(found))
