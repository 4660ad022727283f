import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from focus_core.config import IngestSettings, TileSettings
from focus_core.cubes.parts import Parts
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest, local_path, record, verify
from focus_core.cubes.remote import below
from focus_core.errors import MissingInputError, StoreError, TargetError


def once(target: Path, content: str = "a", **changes: object) -> Metrics:
    def write(folder: Path) -> Metrics:
        (folder / "data").mkdir()
        (folder / "data" / "x").write_text(content)
        return {"length": float(len(content))}

    arguments = {"step": "ingest", "inputs": {"raw": "0"}, "settings": IngestSettings(), "write": write} | changes
    return publish(target, **arguments)  # type: ignore[arg-type]


def forbidden(folder: Path) -> Metrics:
    raise AssertionError("a finished step was run again")


def test_a_rerun_is_no_rerun(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "store"
    assert once(target) == {"length": 1.0}
    first = digest(target)
    assert once(target, write=forbidden) == {"length": 1.0}
    assert digest(target) == first
    verify(target)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"raw": "1"}},
        {"settings": IngestSettings(chunk_px=32)},
        {"settings": TileSettings()},
    ],
)
def test_anything_else_is_another_result(tmp_path: Path, change: dict[str, object]) -> None:
    once(tmp_path / "store")
    once(tmp_path / "store", "other", **change)
    assert (tmp_path / "store" / "data" / "x").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_unfinished_result_is_completed_in_a_copy(tmp_path: Path) -> None:
    target = tmp_path / "store"
    once(target)

    def fail(folder: Path) -> Metrics:
        (folder / "data" / "x").write_text("half")
        raise KeyboardInterrupt

    def complete(folder: Path) -> Metrics:
        (folder / "data" / "y").write_text((folder / "data" / "x").read_text() + "b")
        return {"length": 2.0}

    def short(metrics: Metrics) -> bool:
        return metrics["length"] < 2

    with pytest.raises(KeyboardInterrupt):
        once(target, write=fail, unfinished=short)
    assert (target / "data" / "x").read_text() == "a"
    assert once(target, write=complete, unfinished=short) == {"length": 2.0}
    assert [(target / "data" / name).read_text() for name in "xy"] == ["a", "ab"]
    verify(target)
    assert once(target, write=forbidden, unfinished=short) == {"length": 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_failure_leaves_the_old_result_and_no_rest(tmp_path: Path) -> None:
    once(tmp_path / "store")

    def fail(folder: Path) -> Metrics:
        (folder / "half").write_text("half")
        raise ValueError("broken input")

    with pytest.raises(ValueError, match="broken input"):
        once(tmp_path / "store", inputs={}, write=fail)
    assert (tmp_path / "store" / "data" / "x").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_leftovers_of_a_killed_run_are_cleaned(tmp_path: Path) -> None:
    (tmp_path / ".store.partial-dead").mkdir()
    (tmp_path / ".store.partial-dead" / "x").write_text("x")
    once(tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_interrupted_step_keeps_its_parts_and_a_refused_one_does_not(tmp_path: Path) -> None:
    def stopped_by(error: BaseException) -> Callable[[Path], Metrics]:
        def write(folder: Path) -> Metrics:
            Parts(folder, lambda: (folder / "half").write_text("half"))
            raise error

        return write

    def rest(folder: Path) -> Metrics:
        return {"found": float((folder / "half").exists())}

    for error, found in ((KeyboardInterrupt(), 1.0), (StoreError("bad"), 0.0), (OSError("full"), 0.0)):
        with pytest.raises((KeyboardInterrupt, StoreError, TargetError)):
            once(tmp_path / "store", write=stopped_by(error), inputs={"in": str(error)})
        assert not (tmp_path / "store").exists()
        assert once(tmp_path / "store", write=rest, inputs={"in": str(error)}) == {"found": found}
        shutil.rmtree(tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_what_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.docx").write_text("years of work")
    with pytest.raises(TargetError, match="exists and was not written by focus; choose another target"):
        once(tmp_path / "store")
    assert (tmp_path / "store" / "thesis.docx").read_text() == "years of work"


def test_what_another_step_wrote_is_not_replaced(tmp_path: Path) -> None:
    """`focus tile CAMPAIGN cube.zarr cube.zarr` would otherwise end with tiles and without the cube."""
    once(tmp_path / "store")
    with pytest.raises(
        TargetError, match=r"store' holds what 'ingest' wrote; give 'tile' another target, or remove it"
    ):
        once(tmp_path / "store", step="tile", write=forbidden)
    verify(tmp_path / "store")


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetError, match="cannot be written"):
        once(tmp_path / "file" / "store")
    with pytest.raises(TargetError, match="'ftp' is not supported here; give a local path"):
        local_path("ftp://host/store")


def test_a_key_of_an_object_leads_nowhere_else(tmp_path: Path) -> None:
    assert below(tmp_path, "a/b") == tmp_path / "a" / "b"
    for key in ("../x", "a/../../x", "/etc/passwd"):
        with pytest.raises(TargetError, match="would be copied outside"):
            below(tmp_path, key)


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with (tmp_path / ".store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TargetError, match="is being written by another process"):
            once(tmp_path / "store")


@pytest.mark.parametrize("next_writer", [True, False])
def test_a_lock_on_a_file_that_its_holder_has_just_removed_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_writer: bool
) -> None:
    lock, flock, others = tmp_path / ".store.lock", fcntl.flock, []

    def late(handle: TextIO, operation: int) -> None:
        """Between opening and locking, the last holder leaves and, it may be, another writer comes."""
        if not others:
            lock.unlink()
            others.append(lock.open("w") if next_writer else None)
            if next_writer:
                flock(others[0], fcntl.LOCK_EX)
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    if next_writer:
        with pytest.raises(TargetError, match="is being written by another process"):
            once(tmp_path / "store")
        others[0].close()
    else:
        once(tmp_path / "store")
        assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_changed_store_is_noticed(tmp_path: Path) -> None:
    once(tmp_path / "store")
    assert record(tmp_path / "store")["step"] == "ingest"
    (tmp_path / "store" / "data" / "x").write_text("b")
    with pytest.raises(TargetError, match="was changed after it was published"):
        verify(tmp_path / "store")


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    for function in (digest, record):
        with pytest.raises(MissingInputError, match="does not exist or is not finished"):
            function(tmp_path / "nothing")
    (tmp_path / "x").write_text("abc")
    assert digest(f"file://{tmp_path}/x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
