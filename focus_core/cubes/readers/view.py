"""An array that is read piece by piece, whatever order its axes have in the file.

Knows axes; opens no file itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from focus_core.cubes.readers.protocol import READ_PX
from focus_core.errors import CubeError

# Deflate cannot shrink below about 1/1032, so a file that promises more is broken or hostile.
_LARGEST_INFLATION = 1100


@dataclass(frozen=True)
class StoredArray:
    """Array-like view ``(band, y, x)`` of an array in a file."""

    read: Callable[[tuple[slice, ...]], Any]
    """Returns the part of the array that slices in the file's own order name."""
    stored: tuple[int, ...]
    """Shape in the file."""
    dtype: np.dtype[Any]
    axes: tuple[int, int, int]
    """Position in the file of band, y and x."""

    ndim = 3

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of bands, rows and columns."""
        return tuple(self.stored[axis] for axis in self.axes)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        wanted = [range(*part.indices(length)) for part, length in zip(key, self.shape, strict=True)]
        whole = [slice(min(part), max(part) + 1) if part else slice(0, 0) for part in wanted]
        values = np.asarray(self.read(tuple(whole[self.axes.index(axis)] for axis in range(3)))).transpose(self.axes)
        return values[tuple(slice(None, None, part.step) for part in wanted)]

    def lazy(self) -> Any:
        """Return the dask array ``(band, y, x)``, a square of pixels with all bands to a piece."""
        return da.from_array(
            self,
            chunks=(self.shape[0], READ_PX, READ_PX),
            name=False,
            asarray=False,
            fancy=False,
            meta=np.empty((0, 0, 0), self.dtype),
        )


def refuse_inflation(path: Path, name: str, needed: int, found: int) -> None:
    """Refuse an array whose declared size cannot come out of what the file holds.

    Parameters
    ----------
    path, name
        The file and its array, for the message.
    needed
        Size of the array as declared, bytes.
    found
        Size of what is stored, bytes.

    Raises
    ------
    CubeError
        If it is more than any compression gives.
    """
    if needed > _LARGEST_INFLATION * found:
        raise CubeError(
            f"{path}: '{name}' declares {needed} bytes and cannot fit in a file of this size ({found} bytes); "
            "copy it again"
        )
