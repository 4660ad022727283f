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
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO, TypeGuard

from focus_core import __version__
from focus_core.config import Settings
from focus_core.cubes import linked
from focus_core.cubes.parts import LEDGER, digests, settled
from focus_core.cubes.remote import RemoteFolder, is_remote
from focus_core.errors import BusyError, MissingInputError, TargetError

Metrics = dict[str, float]
"""What every step returns: flat names, finite numbers."""

_RECORD = "focus"
_SIDECAR = "record.json"


def local_path(uri: str | Path) -> Path:
    """Return the local path of a URI.

    Raises
    ------
    TargetError
        If the URI has a scheme other than ``file``.
    """
    text = str(uri)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" in text:
        scheme = text.split("://", 1)[0]
        raise TargetError(f"'{uri}': '{scheme}' is not supported here; give a local path")
    return Path(text).absolute()


def publish(
    uri: str | Path,
    *,
    step: str,
    inputs: Mapping[str, str],
    settings: Settings,
    write: Callable[[Path], Metrics],
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
        `Parts`, as a killed run with the same inputs and settings left it.

    Returns
    -------
    Metrics
        What ``write`` returned, or the record of it from the finished run.

    Raises
    ------
    TargetError
        If the target cannot be written, is not a folder of ours, or another writer holds it.
    """
    wanted = {
        "step": step,
        "version": __version__,
        "inputs": dict(inputs),
        "settings": settings.model_dump(mode="json"),
    }
    if is_remote(uri):
        remote = RemoteFolder(uri)
        with remote.held():
            found = _parsed(remote.marker())
            if _is(found, wanted):
                return Metrics(found["metrics"])
            if found is None and remote.occupied():
                raise TargetError(f"'{uri}' exists and was not written by focus; choose another target or remove it")
            with remote.staging() as folder:
                metrics = publish(folder, step=step, inputs=inputs, settings=settings, write=write)
                remote.replace(folder)
        return metrics
    target = local_path(uri)
    with _exclusive(target):
        found = _read_record(target)
        if _is(found, wanted):
            return Metrics(found["metrics"])
        if found is None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise TargetError(f"'{target}' exists and was not written by focus; choose another target or remove it")
        staging = target.with_name(f".{target.name}.partial-{_name_of(wanted)}")
        _clean(target, resumed=staging)
        try:
            staging.mkdir(exist_ok=True)
            metrics = write(staging)
            known = digests(staging)
            (staging / LEDGER).unlink(missing_ok=True)
            _write_record(staging, {**wanted, "metrics": metrics, "digest": _tree_digest(staging, known)})
            _replace(staging, target)
        except OSError as error:
            if isinstance(error, TargetError | MissingInputError):
                raise
            raise _unwritable(target, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return metrics


def digest(uri: str | Path) -> str:
    """Return the sha256 of a file's content, or the recorded digest of a published folder.

    Raises
    ------
    MissingInputError
        If there is neither.
    """
    if not is_remote(uri) and (path := local_path(uri)).is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return str(record(uri)["digest"])


def verify(uri: str | Path) -> None:
    """Recompute the digest of a published folder.

    Raises
    ------
    TargetError
        If the content is not what was published.
    """
    with RemoteFolder(uri).fetched() if is_remote(uri) else nullcontext(local_path(uri)) as path:
        expected, found = [digest(path)], [_tree_digest(path)]
        recorded = _read_linked(path)
        if recorded is not None:
            files = linked.part_files(path, recorded["dim"])
            expected += recorded["digests"]
            found += [linked.part_digest(files.get(position, {})) for position in range(len(recorded["digests"]))]
    for one, other in zip(expected, found, strict=True):
        if one != other:
            raise TargetError(
                f"'{uri}' was changed after it was published: digest {other}, recorded {one}; "
                "remove it and run the step again"
            )


def record(uri: str | Path) -> dict[str, Any]:
    """Return the record of a published folder: step, version, inputs, settings, metrics, digest."""
    found = _parsed(RemoteFolder(uri).marker()) if is_remote(uri) else _read_record(local_path(uri))
    if found is None:
        raise MissingInputError(f"'{uri}' does not exist or is not finished; run the step that writes it")
    return found


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


def _name_of(wanted: Mapping[str, Any]) -> str:
    """Return a name that the same inputs and settings have again."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:32]


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
    _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _record_file(folder: Path) -> Path:
    """Return where the record is kept: a Zarr group's attributes, so that it travels with the store."""
    group = folder / "zarr.json"
    return group if group.exists() else folder / _SIDECAR


def _is(found: dict[str, Any] | None, wanted: Mapping[str, Any]) -> TypeGuard[dict[str, Any]]:
    return found is not None and {key: found.get(key) for key in wanted} == wanted


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        return _parsed(_record_file(folder).read_bytes())
    except OSError:
        return None


def _parsed(marker: bytes | None) -> dict[str, Any] | None:
    try:
        content = json.loads(marker or b"null")
    except ValueError:
        return None
    if isinstance(content, dict) and "zarr_format" in content:
        content = content.get("attributes", {}).get(_RECORD)
    return content if isinstance(content, dict) and "digest" in content else None


def _write_record(folder: Path, content: dict[str, Any]) -> None:
    path = _record_file(folder)
    if path.name == _SIDECAR:
        text = json.dumps(content, indent=2, sort_keys=True)
    else:
        group = json.loads(path.read_text(encoding="utf-8"))
        group["attributes"][_RECORD] = content
        text = json.dumps(group, indent=2)
    path.write_text(text, encoding="utf-8")
    _to_disk(path)


def _read_linked(folder: Path) -> dict[str, Any] | None:
    """Return the dim and the digests of a store's parts, where it has any."""
    own = _record_file(folder)
    content = json.loads(own.read_text(encoding="utf-8")) if own.name != _SIDECAR else {}
    found: dict[str, Any] | None = content.get("attributes", {}).get(linked.ATTRIBUTE)
    return found


def _tree_digest(folder: Path, known: Mapping[Path, str] = MappingProxyType({})) -> str:
    """Digest of every file's name and content, the record itself left out; afterwards all are on the disk.

    Parts that may be taken over count by their recorded digests, so that nobody reads them for it.
    """
    own, recorded = _record_file(folder), _read_linked(folder)
    held = linked.part_files(folder, recorded["dim"]).values() if recorded else ()
    left_out = {path for files in held for path in files.values()}
    settled(path for path in left_out if path.stat().st_nlink == 1)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path not in left_out and not (path == own and own.name == _SIDECAR)
    )
    found = {**known, **settled(path for path in files if path not in known)}
    if own in found:
        group = json.loads(own.read_text(encoding="utf-8"))
        group["attributes"].pop(_RECORD, None)
        found[own] = hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + bytes.fromhex(found[path]))
    return total.hexdigest()
