"""Raw files are hashed while they are read, and what is read of a file that changes meanwhile is not believed."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from focus_core.config import IngestSettings
from focus_core.cubes.contents import hashing
from focus_core.cubes.parts import LEDGER, Parts
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import record
from focus_core.errors import CubeError


class Killed(BaseException):
    """Stands for a death that runs no clean-up."""


def nothing() -> None:
    pass


def once(target: Path, raw: Path, done: list[str], meanwhile: Callable[[], object] = nothing) -> None:
    """Publish two parts; something happens after the first."""

    def write(folder: Path) -> Metrics:
        parts = Parts(folder, nothing)
        for name in "ab":
            if name not in parts:
                (folder / name).write_text(name)
                parts.finish(name, [folder / name])
                done.append(name)
            if name == "a":
                meanwhile()
        return {}

    with hashing([raw]) as contents:
        publish(target, step="x", inputs={"campaign": "0"}, settings=IngestSettings(), write=write, raw=contents)


def die() -> None:
    raise Killed


def changed(raw: Path) -> None:
    """Another content of the same length, with the old time of modification, as a copy that keeps times leaves it."""
    before = raw.stat()
    raw.write_bytes(b"COUNTS")
    os.utime(raw, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "flight.raw"
    path.write_bytes(b"counts")
    return path


def test_what_the_files_held_is_recorded(tmp_path: Path, raw: Path) -> None:
    once(tmp_path / "store", raw, [])
    expected = {"campaign": "0", str(raw): hashlib.sha256(b"counts").hexdigest()}
    assert record(tmp_path / "store")["inputs"] == expected


def test_a_rerun_looks_at_the_content(tmp_path: Path, raw: Path) -> None:
    target = tmp_path / "store"
    once(target, raw, [])
    raw.touch()
    once(target, raw, [], lambda: pytest.fail("a finished step was run again"))
    changed(raw)
    done: list[str] = []
    once(target, raw, done)
    assert done == ["a", "b"]
    assert record(target)["inputs"][str(raw)] == hashlib.sha256(b"COUNTS").hexdigest()


def test_what_is_killed_goes_on_only_with_untouched_files(tmp_path: Path, raw: Path) -> None:
    target, done = tmp_path / "store", list[str]()
    with pytest.raises(Killed):
        once(target, raw, done, die)
    with pytest.raises(Killed):
        once(target, raw, done, die)
    assert done == ["a"]
    changed(raw)
    once(target, raw, done)
    assert done == ["a", "a", "b"]
    assert not list(tmp_path.rglob(LEDGER))


def test_a_file_that_changes_meanwhile_is_named(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(CubeError, match=r"flight\.raw: changed while it was read; run ingest again"):
        once(tmp_path / "store", raw, [], lambda: changed(raw))
    assert [path.name for path in tmp_path.iterdir()] == ["flight.raw"]


def test_a_file_that_goes_away_is_named(tmp_path: Path, raw: Path) -> None:
    with pytest.raises(CubeError, match=r"flight\.raw: (changed while it was read|cannot be read)"):
        once(tmp_path / "store", raw, [], raw.unlink)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="no file here that opens and cannot be read")
def test_a_file_that_cannot_be_read_is_named() -> None:
    with (
        hashing([Path("/proc/self/mem")]) as contents,
        pytest.raises(CubeError, match="/proc/self/mem: cannot be read: Input/output error"),
    ):
        contents.digests()


def test_a_raw_store_is_all_its_files(tmp_path: Path) -> None:
    found = []
    for content in ("a", "b"):
        store = tmp_path / content
        (store / "c").mkdir(parents=True)
        (store / "c" / "0").write_text(content)
        with hashing([store]) as contents:
            found.append((contents.digests()[str(store)], contents.stamps[str(store)]))
    assert len(set(found)) == len({stamp for _, stamp in found}) == 2
    with hashing([tmp_path / "a"]) as contents:
        (tmp_path / "a" / "c" / "1").write_text("more")
        with pytest.raises(CubeError, match="changed while it was read"):
            contents.digests()
