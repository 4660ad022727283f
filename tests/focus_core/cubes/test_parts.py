"""What a killed writer finished is kept, and nothing else is believed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from focus_core.config import IngestSettings
from focus_core.cubes.parts import LEDGER, Parts
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest, verify


class Killed(BaseException):
    """Stands for a death that runs no clean-up: the folder is copied as it is at that moment."""


def write(folder: Path, done: list[str], last: Callable[[Path], None]) -> Metrics:
    """Three parts of one file each; `last` happens after the second."""
    parts = Parts(folder, lambda: (folder / "layout").write_text("l"))
    for name in "abc":
        if name not in parts:
            (folder / name).write_text(name)
            parts.finish(name, [folder / name])
            done.append(name)
        if name == "b":
            last(folder)
    return {"parts": 3.0}


def nothing(folder: Path) -> None:
    pass


def publish_parts(target: Path, done: list[str], last: Callable[[Path], None] = nothing, **raw: str) -> None:
    publish(target, step="x", inputs=raw, settings=IngestSettings(), write=lambda folder: write(folder, done, last))


def killed(target: Path, harm: Callable[[Path], None] = nothing) -> None:
    """Leave beside the target what a run that was killed after two of three parts leaves."""

    def die(_: Path) -> None:
        raise Killed

    with pytest.raises(Killed):
        publish_parts(target, [], die)
    (leftover,) = target.parent.glob(f".{target.name}.partial-*")
    harm(leftover)


def torn_line(folder: Path) -> None:
    with (folder / LEDGER).open("a") as ledger:
        ledger.write('["c", {"c": "0')


def torn_chunk(folder: Path) -> None:
    (folder / "c.0123.partial").write_text("ha")


def changed(folder: Path) -> None:
    (folder / "b").write_text("B")


def lost(folder: Path) -> None:
    (folder / "b").unlink()


def no_ledger(folder: Path) -> None:
    (folder / LEDGER).unlink()


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        (nothing, ["c"]),
        (torn_line, ["c"]),
        (torn_chunk, ["c"]),
        (changed, ["b", "c"]),
        (lost, ["b", "c"]),
        (no_ledger, ["a", "b", "c"]),
    ],
)
def test_a_killed_writer_goes_on_from_what_is_whole(
    tmp_path: Path, harm: Callable[[Path], None], again: list[str]
) -> None:
    publish_parts(tmp_path / "undisturbed", [])
    killed(tmp_path / "store", harm)
    done: list[str] = []
    publish_parts(tmp_path / "store", done)
    assert done == again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "undisturbed"]
    assert digest(tmp_path / "store") == digest(tmp_path / "undisturbed")
    verify(tmp_path / "store")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["a", "b", "c", "layout", "record.json"]


def test_other_inputs_start_anew(tmp_path: Path) -> None:
    killed(tmp_path / "store")
    done: list[str] = []
    publish_parts(tmp_path / "store", done, raw="1")
    assert done == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_ledger_names_a_part_only_with_its_digest(tmp_path: Path) -> None:
    killed(tmp_path / "store")
    (leftover,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in (leftover / LEDGER).read_text().splitlines()]
    assert [name for name, _ in lines] == ["a", "b"]
    assert lines[0][1] == {"a": hashlib.sha256(b"a").hexdigest()}
