"""A target appears whole or not at all, and a finished step is not run again.

A writer fills a hidden folder beside the target; the folder is given a record of its inputs and a digest of its
content, and only then, with all of it on the disk, takes the target's name. What a killed writer left is removed,
unless the same is asked for again and it has finished parts. A target on S3 is published on this machine first, then
copied as it is. Knows nothing of what the content means.

Why not icechunk, which writes and reads as fast and keeps what is committed through a kill as well (measured with
1.1.21): a killed session's chunks belong to no commit, so its work would be done again; its commits on a local file
system are safe only behind a lock like ours; forks that wrote one chunk are merged without a word; only icechunk opens
the result; and models, pages and tables, which are no Zarr, would need this module all the same.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeGuard

from focus_core import __version__
from focus_core.config import Settings
from focus_core.cubes.contents import Contents
from focus_core.cubes.parts import LEDGER, digests
from focus_core.cubes.record import local_path, parsed, read_record, to_disk, tree_digest, write_record
from focus_core.cubes.remote import RemoteFolder, is_remote
from focus_core.errors import BusyError, FocusError, TargetError

Metrics = dict[str, float]
"""What every step returns: flat names, finite numbers."""

_ATTEMPTS, _PAUSE_S = 50, 0.1
"""To remove what a failed write left; chunks under way when it failed still land for a moment."""


def publish(
    uri: str | Path,
    *,
    step: str,
    inputs: Mapping[str, str],
    settings: Settings,
    write: Callable[[Path], Metrics],
    raw: Contents | None = None,
    unfinished: Callable[[Metrics], bool] = lambda metrics: False,
) -> Metrics:
    """Run ``write`` unless the target already holds its result, and publish what it wrote.

    Parameters
    ----------
    uri
        The target, local or ``s3://…``: a folder that does not exist yet, or one that an earlier run published.
    step
        Name of the verb.
    inputs
        URI or name of each input, with its content digest; recorded as lineage.
    settings
        Recorded with the result; another setting makes another result.
    write
        Fills the folder it is given and returns the step's metrics. The folder is empty, or, where the writer keeps
        `Parts`, as an interrupted run with the same inputs and settings left it.
    raw
        Further inputs, whose content is being hashed: it is waited for where a result is there already, to see whether
        it is the one asked for, or else after ``write``, and then recorded.
    unfinished
        Says by the metrics of a finished run whether its result can be completed now; ``write`` is then given a copy
        of it to complete.

    Returns
    -------
    Metrics
        What ``write`` returned, or the record of it from the finished run.

    Raises
    ------
    TargetError
        If the target cannot be written, is not a folder of ours or another step's, or another writer holds it.
    """
    wanted = _Wanted(step, inputs, settings, raw)
    if is_remote(uri):
        remote = RemoteFolder(uri)
        with remote.held():
            found = parsed(remote.marker())
            finished = Metrics(found["metrics"]) if wanted.is_(found) else None
            completed = finished is not None and unfinished(finished)
            if finished is not None and not completed:
                return finished
            _refuse_other_step(uri, found, step)
            if found is None and remote.occupied():
                raise TargetError(f"'{uri}' exists and was not written by focus; choose another target or remove it")
            with remote.staging() as folder:
                if completed:
                    shutil.rmtree(folder, ignore_errors=True)
                    remote.fetch(folder)
                metrics = publish(
                    folder,
                    step=step,
                    inputs=inputs,
                    settings=settings,
                    write=write,
                    raw=raw,
                    unfinished=lambda _: completed,
                )
                remote.replace(folder)
        return metrics
    target = local_path(uri)
    with _exclusive(target):
        found = read_record(target)
        finished = Metrics(found["metrics"]) if wanted.is_(found) else None
        completed = finished is not None and unfinished(finished)
        if finished is not None and not completed:
            return finished
        _refuse_other_step(target, found, step)
        if found is None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise TargetError(f"'{target}' exists and was not written by focus; choose another target or remove it")
        return _written(target, wanted, write, completed)


@dataclass(frozen=True)
class _Wanted:
    """What makes a result the one that is asked for."""

    step: str
    inputs: Mapping[str, str]
    settings: Settings
    raw: Contents | None

    def record(self) -> dict[str, Any]:
        """Return what is recorded of it; waits for the digests of raw files."""
        return self._with(self.raw.digests() if self.raw else {})

    def name(self) -> str:
        """Return a name that the same has again, as long as nobody touches its raw files; waits for nothing."""
        content = self._with(self.raw.stamps if self.raw else {})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def is_(self, found: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
        """Return whether a record is of this result."""
        if found is None:
            return False
        wanted = self.record()
        return {key: found.get(key) for key in wanted} == wanted

    def _with(self, raw: Mapping[str, str]) -> dict[str, Any]:
        settings = self.settings.model_dump(mode="json")
        return {"step": self.step, "version": __version__, "inputs": {**self.inputs, **raw}, "settings": settings}


def _written(target: Path, wanted: _Wanted, write: Callable[[Path], Metrics], completed: bool) -> Metrics:
    """Write beside the target, from a copy of it where that is to be completed, and put the result in its place."""
    staging = target.with_name(f".{target.name}.partial-{wanted.name()}")
    _clean(target, resumed=staging)
    try:
        if completed:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.copytree(target, staging)
        staging.mkdir(exist_ok=True)
        metrics = write(staging)
        known = digests(staging)
        (staging / LEDGER).unlink(missing_ok=True)
        content = {**wanted.record(), "metrics": metrics}
        write_record(staging, {**content, "digest": tree_digest(staging, known)})
        _replace(staging, target)
    except FocusError:
        _discard(staging)
        raise
    except OSError as error:
        _discard(staging)
        raise _unwritable(target, error) from error
    finally:
        if not (staging / LEDGER).is_file():  # an interrupt or a lost worker is no reason to do parts again
            _discard(staging)
    return metrics


def _discard(staging: Path) -> None:
    """Remove what a failed write left, until nothing comes back: Zarr raises the first chunk's error, not the last."""
    for _ in range(_ATTEMPTS):
        if not staging.exists():
            return
        shutil.rmtree(staging, ignore_errors=True)
        time.sleep(_PAUSE_S)


def _refuse_other_step(target: str | Path, found: Mapping[str, Any] | None, step: str) -> None:
    """Refuse to replace what another step wrote: it is mistaken for the target, and often this step's own input."""
    if found is not None and found.get("step", step) != step:
        raise TargetError(f"'{target}' holds what '{found['step']}' wrote; give '{step}' another target, or remove it")


@contextmanager
def _exclusive(target: Path) -> Iterator[None]:
    lock = target.with_name(f".{target.name}.lock")
    with _locked(target, lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(target: Path, lock: Path) -> TextIO:
    """Open and lock a file; where its last holder removed it in between, the lock is worth nothing and is retried."""
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("w")
        except OSError as error:
            raise _unwritable(target, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.close()
            raise BusyError(f"'{target}' is being written by another process; wait for it") from error
        if _is_at(handle, lock):
            return handle
        handle.close()


def _unwritable(target: Path, error: OSError) -> TargetError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        remedy = "free space there, or choose another target, and run the step again"
    else:
        remedy = "choose a target in a folder that can be written to"
    return TargetError(f"'{target}' cannot be written: {error}; {remedy}")


def _is_at(handle: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _clean(target: Path, *, resumed: Path) -> None:
    """Remove what killed runs left, but for finished parts; the lock is held, so nobody is writing there."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
        if leftover != resumed or not (leftover / LEDGER).is_file():
            shutil.rmtree(leftover, ignore_errors=True)


def _replace(staging: Path, target: Path) -> None:
    if target.exists():
        old = target.with_name(f".{target.name}.partial-{uuid.uuid4().hex}")
        target.rename(old)
        staging.rename(target)
        shutil.rmtree(old)
    else:
        staging.rename(target)
    to_disk(target.parent)
