"""From raw counts to a published cube, against a plain read of the same file and a plain write of the stored bytes.

Each flight is simulated, and ingested in a process of its own; both sides read from the disk and wait until the disk
has what they wrote.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from focus_core.bench.page_cache import drop, files_below
from focus_core.bench.process import alone, peak_mb
from focus_core.bench.raw_flight import write_flight
from focus_core.bench.scratch import scratch_folder
from focus_core.config import IngestSettings
from focus_core.steps.ingest import ingest

TARGETS = {"over_plain": 2.5, "peak_mb": 1074.0, "peak_of_twice": 1.1}
"""What each figure should not exceed."""
_BUFFER = 8 * 2**20


class Spent(NamedTuple):
    """What one ingest took."""

    wall: float
    """s."""
    cpu: float
    """Processor time of all threads, s: what other work on the machine changes little."""
    peak: float
    """Largest resident memory of the process, MB."""


def run(
    *, scratch: str | None = None, gigabytes: float = 3.0, samples: int = 1000, bands: int = 200, repeats: int = 1
) -> dict[str, list[float]]:
    """Simulate a flight and one twice as long, and ingest both.

    Parameters
    ----------
    scratch
        Folder in which the flights are made and removed again; by default the system's. Needs four times the size.
    gigabytes
        Size of the counts of the smaller flight.
    samples, bands
        Its width; the length follows.
    repeats
        Ingests of each flight.

    Returns
    -------
    dict[str, list[float]]
        Of each ingest of the flight: ``seconds``, ``cpu_seconds``, ``over_plain`` (times a plain read of the counts
        and a plain write of the stored bytes, one after the other), ``plain_read_seconds``, ``plain_write_seconds``,
        ``stored_megabytes``, ``cache_dropped`` (1: every read came from the disk) and ``peak_mb``. Of the flight twice
        as long: ``peak_of_twice``, its peak over that of the flight, and ``twice_over_plain``.

    Raises
    ------
    TargetError
        If ``scratch`` cannot be written.
    """
    lines = max(round(gigabytes * 1e9 / (samples * bands * 2)), 64)
    values: dict[str, list[float]] = {}
    with scratch_folder(scratch) as folder:
        for _ in range(repeats):
            once = _measure(folder / "once", lines, samples, bands)
            twice = _measure(folder / "twice", 2 * lines, samples, bands)
            once["peak_of_twice"] = twice["peak_mb"] / once["peak_mb"]
            once["twice_over_plain"] = twice["over_plain"]
            for key, value in once.items():
                values.setdefault(key, []).append(value)
    return values


def _measure(folder: Path, lines: int, samples: int, bands: int) -> dict[str, float]:
    if not folder.exists():
        folder.mkdir()
        write_flight(folder, lines=lines, samples=samples, bands=bands)
    counts, cube = folder / "flight.raw", folder / "out" / "cube.zarr"
    dropped = [drop([counts])]
    reading = _plain_read(counts)
    dropped.append(drop([counts]))
    spent = alone(_ingest, str(folder / "campaign.yaml"), str(cube), str(folder / "out" / "reference.zarr"))
    stored = sum(path.stat().st_size for path in files_below(cube))
    writing = _plain_write(folder / "plain", stored)
    shutil.rmtree(folder / "out")
    return {
        "seconds": spent.wall,
        "cpu_seconds": spent.cpu,
        "plain_read_seconds": reading,
        "plain_write_seconds": writing,
        "over_plain": spent.wall / (reading + writing),
        "stored_megabytes": stored / 1e6,
        "cache_dropped": min(dropped),
        "peak_mb": spent.peak,
    }


def _ingest(campaign: str, cube: str, reference: str) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    ingest(campaign, cube, reference, settings=IngestSettings())
    return Spent(time.perf_counter() - wall, time.process_time() - cpu, peak_mb())


def _plain_read(path: Path) -> float:
    buffer = bytearray(_BUFFER)
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - started


def _plain_write(path: Path, size: int) -> float:
    buffer = os.urandom(_BUFFER)
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, _BUFFER):
            file.write(buffer[: size - start])
        os.fsync(file.fileno())
    spent = time.perf_counter() - started
    path.unlink()
    return spent
