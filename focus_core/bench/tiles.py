"""From tiles.zarr to batches of a model, against copying the same stored numbers out of a raw memory map.

The flights are simulated, of 1, 4 and 16 times an area; everything else is what the pipeline runs. The map holds the
numbers as they are stored, so its rate is that of half the bytes that a batch of floats has.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from focus_core.batches import stream_tiles
from focus_core.bench.page_cache import drop, files_below
from focus_core.bench.raw_flight import write_flight
from focus_core.bench.scratch import scratch_folder
from focus_core.bench.timing import seconds_of
from focus_core.config import IngestSettings, TileSettings
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_store
from focus_core.steps.ingest import ingest
from focus_core.steps.tile import tile

TARGETS = {"cold.rate_over_memmap": 0.5, "warm.rate_over_memmap": 0.2}
"""What each figure should reach."""
_AREAS = (1, 4, 16)
_BATCH = 64


def run(
    *, scratch: str | None = None, side_px: int = 512, bands: int = 200, repeats: int = 3
) -> dict[str, list[float]]:
    """Simulate, ingest and tile flights, and read their tiles.

    Parameters
    ----------
    scratch
        Folder in which the flights are made and removed again; by default the system's.
    side_px
        Rows and columns of the smallest flight.
    bands
        Its bands.
    repeats
        Readings of each flight's tiles, cold and warm.

    Returns
    -------
    dict[str, list[float]]
        For the largest flight ``cold.rate_over_memmap`` and ``warm.rate_over_memmap``, ``cold.tiles_per_second`` and
        ``warm.tiles_per_second``, ``cache_dropped`` (1: every cold read came from the disk), ``tiles`` and
        ``stored_share`` (stored bytes over those of the map); for every area ``area_<n>.tiles``,
        ``area_<n>.read_ms`` (warm) and ``area_<n>.cut_ms`` (the step ``tile``), per tile; and of the largest over the
        smallest area ``read_growth`` and ``cut_growth``.

    Raises
    ------
    TargetError
        If ``scratch`` cannot be written.
    """
    values: dict[str, list[float]] = {}
    with scratch_folder(scratch) as below:
        for area in _AREAS:
            folder = below / str(area)
            uri, cutting = _tiles(folder, round(side_px * area**0.5), bands)
            count = open_store(uri, TILES).sizes["tile"]
            if area == _AREAS[-1]:
                values |= _rates(uri, folder / "map", repeats)
            reading = [seconds_of(partial(_read, uri)) for _ in range(repeats + 1)][1:]  # the first one warms up
            values[f"area_{area}.tiles"] = [float(count)]
            values[f"area_{area}.read_ms"] = [1e3 * seconds / count for seconds in reading]
            values[f"area_{area}.cut_ms"] = [1e3 * cutting / count]
            shutil.rmtree(folder)
    for what in ("read", "cut"):
        first, last = (statistics.median(values[f"area_{area}.{what}_ms"]) for area in (_AREAS[0], _AREAS[-1]))
        values[f"{what}_growth"] = [last / first]
    return values


def _tiles(folder: Path, side_px: int, bands: int) -> tuple[str, float]:
    """Return a flight's ``tiles.zarr`` and the time in which it was cut, s."""
    folder.mkdir()
    campaign = str(write_flight(folder, lines=side_px, samples=side_px, bands=bands))
    cube, tiles = str(folder / "cube.zarr"), str(folder / "tiles.zarr")
    ingest(campaign, cube, str(folder / "reference.zarr"), settings=IngestSettings())
    return tiles, seconds_of(lambda: tile(campaign, cube, tiles, settings=TileSettings()))


def _rates(uri: str, copy: Path, repeats: int) -> dict[str, list[float]]:
    store = zarr.open_group(uri, mode="r")["reflectance"]
    shape: tuple[int, ...] = store.shape  # type: ignore[union-attr]
    with copy.open("wb") as file:
        for part in _batches(shape[0]):
            np.asarray(store[part[0] : part[-1] + 1]).tofile(file)  # type: ignore[index]
    files = files_below(Path(uri))
    values: dict[str, list[float]] = {
        "tiles": [float(shape[0])],
        "stored_share": [sum(path.stat().st_size for path in files) / copy.stat().st_size],
    }
    for _ in range(repeats):
        for state in ("cold", "warm"):
            if state == "cold":
                values.setdefault("cache_dropped", []).append(min(drop([copy]), drop(files)))
            floor = seconds_of(lambda: _copy(copy, shape))
            spent = seconds_of(lambda: _read(uri))
            values.setdefault(f"{state}.rate_over_memmap", []).append(floor / spent)
            values.setdefault(f"{state}.tiles_per_second", []).append(shape[0] / spent)
    return values


def _batches(count: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, count, _BATCH):
        yield np.arange(start, min(start + _BATCH, count))


def _read(uri: str) -> None:
    tiles = open_store(uri, TILES)
    for _ in stream_tiles(tiles, np.arange(tiles.sizes["tile"]), _BATCH):
        pass


def _copy(path: Path, shape: tuple[int, ...]) -> None:
    mapped = np.memmap(path, dtype=np.int16, mode="r", shape=shape)
    for part in _batches(shape[0]):
        np.array(mapped[part])
