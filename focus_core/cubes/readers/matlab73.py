"""Arrays in MATLAB files of version 7.3, which are HDF5 files: read piece by piece.

MATLAB counts the first index fastest and HDF5 the last one, so the axes stand reversed in the file.
"""

from __future__ import annotations

from pathlib import Path

from focus_core.cubes.readers.hdf5 import arrays, lazy_array, open_hdf5
from focus_core.cubes.readers.matlab import choose_array
from focus_core.cubes.readers.protocol import OpenedCube


def open_matlab73(path: Path, variable: str | None = None) -> OpenedCube:
    """Open the three-dimensional array ``(row, column, band)`` of a MATLAB 7.3 file lazily.

    Raises
    ------
    CubeError
        If there is no such array, or more than one and none is named.
    """
    with open_hdf5(path) as file:
        found = {
            name: tuple(reversed(dataset.shape))
            for name, dataset in arrays(path, file).items()
            if len(dataset.shape or ()) == 3 and dataset.dtype.kind in "iuf" and not name.startswith("#")
        }
        name = choose_array(path, variable, found, dims=3)
        data = lazy_array(path, file[name], axes=(0, 2, 1))
    return OpenedCube(path=path, files=(path,), data=data, wavelength_source="none in the file")
