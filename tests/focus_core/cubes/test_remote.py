"""Targets on S3, at a real server: whole or not at all, whatever happens to the writer."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from focus_core.config import IngestSettings
from focus_core.cubes import lock
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest, record, verify
from focus_core.cubes.store import zarr_store
from focus_core.errors import BusyError, MissingInputError, TargetError
from tests.object_store import keys

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is staged on this machine stays in this test's folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return scratch


def write(folder: Path, content: str = "a") -> Metrics:
    for name in ("x", "deep/y", "deep/z"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content + name)
    return {"length": float(len(content))}


def once(target: str | Path, content: str = "a", **changes: Any) -> Metrics:
    arguments = {
        "step": "ingest", "inputs": {"raw": content}, "settings": IngestSettings(),
        "write": lambda folder: write(folder, content),
    }  # fmt: skip
    return publish(target, **(arguments | changes))


def forbidden(folder: Path) -> Metrics:
    raise AssertionError("a finished step was run again")


def text(uri: str, key: str) -> str:
    return bytes(obstore.get(S3Store.from_url(uri), key).bytes()).decode()


def test_a_folder_is_published_as_a_local_one_is(bucket: str, tmp_path: Path, own_scratch: Path) -> None:
    target = f"{bucket}/season/store"
    assert once(target) == once(tmp_path / "store") == {"length": 1.0}
    assert digest(target) == digest(tmp_path / "store")
    verify(target)
    assert keys(bucket) == {f"season/store/{name}" for name in ("x", "deep/y", "deep/z", "record.json")}
    assert once(target, write=forbidden) == {"length": 1.0}
    assert [path for path in own_scratch.rglob("*") if path.is_file()] == []
    once(target, "b")
    assert text(target, "deep/y") == "bdeep/y"
    assert len(keys(bucket)) == 4
    with pytest.raises(TargetError, match="store' holds what 'ingest' wrote; give 'tile' another target"):
        once(target, step="tile", write=forbidden)
    obstore.put(S3Store.from_url(target), "deep/y", b"other")
    with pytest.raises(TargetError, match="was changed after it was published"):
        verify(target)


def test_an_unfinished_result_is_completed_in_a_copy(bucket: str) -> None:
    target = f"{bucket}/store"
    once(target)

    def complete(folder: Path) -> Metrics:
        (folder / "deep" / "y").write_text((folder / "deep" / "y").read_text() + "b")
        return {"length": 2.0}

    def short(metrics: Metrics) -> bool:
        return metrics["length"] < 2

    assert once(target, write=complete, unfinished=short) == {"length": 2.0}
    assert [text(target, key) for key in ("x", "deep/y", "deep/z")] == ["ax", "adeep/yb", "adeep/z"]
    verify(target)
    assert once(target, write=forbidden, unfinished=short) == {"length": 2.0}


def test_what_is_not_there_or_not_ours(bucket: str) -> None:
    for function in (digest, record, verify):
        with pytest.raises(MissingInputError, match="does not exist or is not finished"):
            function(f"{bucket}/nothing")
    obstore.put(S3Store.from_url(bucket), "thesis/chapter", b"years of work")
    with pytest.raises(TargetError, match="exists and was not written by focus; choose another target"):
        once(f"{bucket}/thesis")
    assert keys(bucket) == {"thesis/chapter"}


def test_a_failure_leaves_the_old_result_and_no_rest(bucket: str) -> None:
    once(f"{bucket}/store")

    def fail(folder: Path) -> Metrics:
        raise ValueError("broken input")

    with pytest.raises(ValueError, match="broken input"):
        once(f"{bucket}/store", "b", write=fail)
    assert text(f"{bucket}/store", "x") == "ax"
    assert len(keys(bucket)) == 4


def test_a_store_that_loses_content_is_noticed_and_nothing_is_published(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = obstore.get
    with monkeypatch.context() as patch:
        patch.setattr(obstore, "get", lambda store, key: [b""] if key.endswith("/x") else real(store, key))
        with pytest.raises(TargetError, match="gives back other content than was sent for 'store/x'"):
            once(f"{bucket}/store")
    assert keys(bucket) == set()
    assert once(f"{bucket}/store", write=forbidden) == {"length": 1.0}  # it is still on this machine
    verify(f"{bucket}/store")


def test_two_writers_do_not_meet(bucket: str) -> None:
    def meet(folder: Path) -> Metrics:
        with pytest.raises(BusyError, match="is being written by another process"):
            once(f"{bucket}/store", "b")
        return write(folder)

    once(f"{bucket}/store", write=meet)
    assert text(f"{bucket}/store", "x") == "ax"


def test_a_writer_that_was_taken_for_dead_publishes_nothing(bucket: str) -> None:
    def sleep(folder: Path) -> Metrics:
        obstore.put(S3Store.from_url(bucket), ".store.lock", b"another")
        return write(folder)

    with pytest.raises(BusyError, match="was taken over by another process meanwhile"):
        once(f"{bucket}/store", write=sleep)
    assert keys(bucket) == {".store.lock"}


KILLED = """
import os, signal, sys, obstore
from focus_core.cubes import lock, remote
from tests.focus_core.cubes.test_remote import once
remote._THREADS, lock.LEASE_SECONDS = 1, 3600.0  # nothing is written beside the folder
real, puts = obstore.put, iter(range(int(sys.argv[2])))
def put(*arguments, **options):
    if next(puts, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
obstore.put = put
once(sys.argv[1], "b")
"""


@pytest.mark.parametrize(("old", "puts"), [(False, 2), (False, 4), (True, 4), (True, 5), (True, 7)])
def test_a_killed_writer_loses_nothing(
    bucket: str, monkeypatch: pytest.MonkeyPatch, own_scratch: Path, old: bool, puts: int
) -> None:
    """The first write takes the lock; four make a whole folder, and a folder that is replaced is written twice."""
    target = f"{bucket}/store"
    if old:
        once(target)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(own_scratch)}
    command = [sys.executable, "-c", KILLED, target, str(puts)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    try:
        found = record(target)["inputs"]["raw"]
    except MissingInputError:
        found = None
    assert found == ("a" if old and puts < 5 else None)
    with pytest.raises(BusyError, match="last sign of life"):
        once(target, "b")
    monkeypatch.setattr(lock, "LEASE_SECONDS", -60.0)
    if puts >= 5:  # the new folder is whole beside the old one's place; else it is on the machine that wrote it
        shutil.rmtree(own_scratch)
        own_scratch.mkdir()
    assert once(target, "b", write=forbidden) == {"length": 1.0}
    verify(target)
    assert text(target, "deep/z") == "bdeep/z"
    assert len(keys(bucket)) == 4


def test_credentials_stay_in_the_environment(bucket: str) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(TargetError, match="credentials in AWS_ACCESS_KEY_ID") as caught:
        once(f"s3://key:{secret}@bucket/store")
    assert secret not in str(caught.value)
    once(f"{bucket}/store")
    assert secret not in text(f"{bucket}/store", "record.json")
    assert secret.encode() not in pickle.dumps(zarr_store(f"{bucket}/store"))


def test_a_store_out_of_reach_says_what_to_check(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="names a bucket; name a folder in it"):
        once(bucket)
    with pytest.raises(TargetError, match=r"cannot be reached: .*; check the bucket, AWS_ENDPOINT_URL"):
        once("s3://no-such-bucket/store")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(TargetError, match=r"cannot be reached: .*credentials"):
        record(f"{bucket}/store")
