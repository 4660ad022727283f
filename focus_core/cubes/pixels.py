"""The pixels of a flight into its store: a square of chunks with all bands at a time, and each square once.

Knows how the store is cut; neither its coordinates nor how it is published.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import zarr

from focus_core.cubes.flight import Flight
from focus_core.cubes.parts import Parts
from focus_core.cubes.schema import FILL
from focus_core.cubes.store import quantise


def write_pixels(folder: Path, flight: Flight, scale: float, parts: Parts) -> None:
    """Fill ``reflectance`` and ``valid`` of a ``cube.zarr`` that is laid out, but for the squares that are finished.

    Parameters
    ----------
    folder
        The store; its chunks are as high and wide as those of the flight.
    flight
        Where the pixels come from.
    scale
        One step of the stored numbers.
    parts
        The finished squares; gets the others.
    """
    group: Any = zarr.open_group(folder, mode="r+")
    tops, lefts = (np.cumsum((0, *sizes)) for sizes in flight.data.chunks[1:])
    finishing: list[Future[None]] = []

    def store(values: npt.NDArray[np.float32], down: int, across: int) -> None:
        here = (slice(tops[down], tops[down + 1]), slice(lefts[across], lefts[across + 1]))
        stored = quantise(values, scale)
        group["reflectance"][:, *here] = stored
        group["valid"][here] = _valid(stored, flight.quality.good)
        chunks = [*folder.glob(f"reflectance/c/*/{down}/{across}"), *folder.glob(f"valid/c/{down}/{across}")]
        finishing.append(disk.submit(parts.finish, f"{down}/{across}", chunks))

    blocks = flight.data.to_delayed()[0]
    missing = [place for place in np.ndindex(blocks.shape) if f"{place[0]}/{place[1]}" not in parts]
    one = dask.delayed(store, pure=False)
    # The disk is waited for beside the computation, not in it.
    with ThreadPoolExecutor(1) as disk:
        dask.compute([one(blocks[place], *place) for place in missing])
    for part in finishing:
        part.result()


def _valid(stored: npt.NDArray[np.int16], good: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where no good band is missing; band by band, because to pick bands out of an array copies it."""
    valid = np.ones(stored.shape[1:], dtype=np.bool_)
    for band in np.flatnonzero(good):
        valid &= stored[band] != FILL
    return valid
