"""What a published folder says of itself: the record of how it came to be, and a digest of its content.

Knows files; does not know what they mean, nor how a folder comes to be published.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from focus_core.cubes import linked
from focus_core.cubes.parts import settled
from focus_core.cubes.remote import RemoteFolder, is_remote
from focus_core.errors import MissingInputError, TargetError

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


@contextmanager
def local_copy(uri: str | Path) -> Iterator[Path]:
    """Lend a published folder on this machine: itself, or a copy of what lies on S3."""
    with RemoteFolder(uri).fetched() if is_remote(uri) else nullcontext(local_path(uri)) as path:
        yield path


def digest(uri: str | Path) -> str:
    """Return the sha256 of a file's content, or the recorded digest of a published folder.

    Raises
    ------
    MissingInputError
        If there is neither.
    """
    if not is_remote(uri) and (path := local_path(uri)).is_file():
        with path.open("rb") as file:
            if hasattr(os, "posix_fadvise"):  # reads ahead twice as far; macOS has no such call
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return hashlib.file_digest(file, "sha256").hexdigest()
    return str(record(uri)["digest"])


def verify(uri: str | Path) -> None:
    """Recompute the digest of a published folder.

    Raises
    ------
    TargetError
        If the content is not what was published.
    MissingInputError
        If the folder does not exist, or no step finished it.
    """
    with local_copy(uri) as path:
        expected, found = [str(record(path)["digest"])], [tree_digest(path)]
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
    found = parsed(RemoteFolder(uri).marker()) if is_remote(uri) else read_record(local_path(uri))
    if found is None:
        raise MissingInputError(f"'{uri}' does not exist or is not finished; run the step that writes it")
    return found


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder; ``None`` where it has none."""
    try:
        return parsed(_record_file(folder).read_bytes())
    except OSError:
        return None


def parsed(marker: bytes | None) -> dict[str, Any] | None:
    """Return the record in the content of the file that holds it; ``None`` where there is none."""
    try:
        content = json.loads(marker or b"null")
    except ValueError:
        return None
    if isinstance(content, dict) and "zarr_format" in content:
        content = content.get("attributes", {}).get(_RECORD)
    return content if isinstance(content, dict) and "digest" in content else None


def write_record(folder: Path, content: dict[str, Any]) -> None:
    """Give a folder its record, and take it to the disk."""
    path = _record_file(folder)
    if path.name == _SIDECAR:
        text = json.dumps(content, indent=2, sort_keys=True)
    else:
        group = json.loads(path.read_text(encoding="utf-8"))
        group["attributes"][_RECORD] = content
        text = json.dumps(group, indent=2)
    path.write_text(text, encoding="utf-8")
    to_disk(path)


def _read_linked(folder: Path) -> dict[str, Any] | None:
    """Return the dim and the digests of a store's parts, where it has any."""
    own = _record_file(folder)
    content = json.loads(own.read_text(encoding="utf-8")) if own.name != _SIDECAR else {}
    found: dict[str, Any] | None = content.get("attributes", {}).get(linked.ATTRIBUTE)
    return found


def tree_digest(folder: Path, known: Mapping[Path, str] = MappingProxyType({})) -> str:
    """Return a digest of every file's name and content, the record itself left out; afterwards all are on the disk.

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


def _record_file(folder: Path) -> Path:
    """Return where the record is kept: a Zarr group's attributes, so that it travels with the store."""
    group = folder / "zarr.json"
    return group if group.exists() else folder / _SIDECAR


def to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
