"""``ingest`` and ``tile`` killed, out of space and before targets that cannot be written: whole or not at all.

``FOCUS_KILLS`` is the number of kills of each step.
"""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from focus_core.bench.raw_flight import write_flight
from focus_core.config import IngestSettings, TileSettings
from focus_core.cubes.parts import LEDGER
from focus_core.cubes.record import digest, verify
from focus_core.errors import FocusError, TargetError
from focus_core.steps.ingest import ingest
from focus_core.steps.tile import tile

KILLS = int(os.environ.get("FOCUS_KILLS", "5"))
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["focus_core.steps.ingest", "focus_core.steps.tile"])


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated flight of 96 squares and 224 windows, ingested and tiled without disturbance."""
    folder = tmp_path_factory.mktemp("flight")
    write_flight(folder, lines=512, samples=192, bands=12)
    for step in STEPS.values():
        step(folder, folder)
    return folder


def run_ingest(flight: Path, out: Path) -> None:
    campaign, settings = str(flight / "campaign.yaml"), IngestSettings(chunk_px=32)
    ingest(campaign, str(out / "cube.zarr"), str(out / "reference.zarr"), settings=settings)


def run_tile(flight: Path, out: Path) -> None:
    campaign, settings = str(flight / "campaign.yaml"), TileSettings(tiles_per_shard=8)
    tile(campaign, str(flight / "cube.zarr"), str(out / "tiles.zarr"), settings=settings)


Step = Callable[[Path, Path], None]
STEPS: dict[str, Step] = {"cube.zarr": run_ingest, "tiles.zarr": run_tile}


def child(step: Step, flight: Path, out: Path, ready: Any) -> None:
    ready.send(None)
    step(flight, out)


def started(step: Step, flight: Path, out: Path) -> Any:
    """A child process that has its imports behind it."""
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=child, args=(step, flight, out, there))
    process.start()
    assert here.poll(60)
    return process


def killed_after(process: Any, seconds: float, reader: Callable[[], None]) -> bool:
    """Kill a child at that moment, reading what is there until then; whether it was still at work."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        reader()
        time.sleep(0.005)
    process.kill()
    process.join()
    return bool(process.exitcode == -signal.SIGKILL)


def content(store: Path) -> dict[str, bytes]:
    """Every chunk; metadata hold the lineage, which the digest leaves out."""
    files = (path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.mark.services
@pytest.mark.parametrize("name", STEPS)
def test_killed_at_random_moments(name: str, flight: Path, tmp_path: Path) -> None:
    out, step = tmp_path / "out", STEPS[name]
    undisturbed, expected = content(flight / name), digest(flight / name)

    def reader() -> None:
        if (out / name).exists():
            verify(out / name)
            assert digest(out / name) == expected

    before = time.monotonic()
    process = started(step, flight, out)
    process.join()
    whole_s = time.monotonic() - before
    shutil.rmtree(out)
    moments, kills = random.Random(0), 0
    while kills < KILLS:
        kills += killed_after(started(step, flight, out), moments.uniform(0.0, whole_s), reader)
        reader()
        if moments.random() < 0.5:  # every other time it is killed once more while it goes on
            kills += killed_after(started(step, flight, out), moments.uniform(0.0, whole_s), reader)
        step(flight, out)
        reader()
        assert content(out / name) == undisturbed
        assert not list(out.rglob(".*"))
        shutil.rmtree(out)


@pytest.mark.parametrize("name", STEPS)
def test_a_killed_step_keeps_the_parts_it_has_finished(name: str, flight: Path, tmp_path: Path) -> None:
    for _ in range(10):
        process = started(STEPS[name], flight, tmp_path)
        while process.is_alive() and not (ledgers := list(tmp_path.glob(f".{name}.partial-*/{LEDGER}"))):
            time.sleep(0.001)
        while process.is_alive() and ledgers[0].stat().st_size < 1000:
            time.sleep(0.001)
        process.kill()
        process.join()
        if not (tmp_path / name).exists():
            break
        shutil.rmtree(tmp_path / name)
    lines = ledgers[0].read_text(encoding="utf-8").splitlines()[:-1]
    files = [file for line in lines for file in json.loads(line)[1]]
    kept = {file: (ledgers[0].parent / file).stat().st_ino for file in files}
    assert kept
    STEPS[name](flight, tmp_path)
    assert {file: (tmp_path / name / file).stat().st_ino for file in files} == kept
    assert digest(tmp_path / name) == digest(flight / name)


def limited(step: Step, flight: Path, out: Path, answer: Any) -> None:
    """The step where no file may grow over 4 KiB, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        step(flight, out)
    except FocusError as error:
        answer.send((type(error).__name__, str(error)))


@pytest.mark.parametrize("name", STEPS)
def test_a_full_disk_is_said_and_nothing_is_left(name: str, flight: Path, tmp_path: Path) -> None:
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=limited, args=(STEPS[name], flight, tmp_path, there))
    process.start()
    assert here.poll(60)
    kind, message = here.recv()
    process.join()
    assert kind == "TargetError"
    assert message.startswith(f"'{tmp_path / name}' cannot be written: ")
    assert message.endswith("free space there, or choose another target, and run the step again")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.services
@pytest.mark.parametrize("name", STEPS)
def test_a_small_disk_is_said_and_left_empty(name: str, flight: Path, small_disk: Path) -> None:
    with pytest.raises(TargetError, match="No space left on device; free space there, or choose another target"):
        STEPS[name](flight, small_disk)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("name", STEPS)
def test_a_target_that_is_read_only(name: str, flight: Path) -> None:
    nowhere = Path("/sys/focus")  # not even root can make a folder there
    with pytest.raises(TargetError, match=r"cannot be written: .*; choose a target in a folder that can be written to"):
        STEPS[name](flight, nowhere)
