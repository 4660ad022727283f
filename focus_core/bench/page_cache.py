"""Files out of the system's cache, so that a read is one from the disk. Other files stay in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PROBES = 16


def files_below(folder: Path) -> list[Path]:
    """Return every file of a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def drop(paths: Iterable[Path]) -> float:
    """Write files out and ask the system to forget their pages; return the share of probes that it has forgotten.

    Less than 1 says that the system does not allow it, and that what is called cold is not.
    """
    gone = []
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(handle).st_size
            gone += [not _is_cached(handle, size * number // _PROBES) for number in range(_PROBES if size else 0)]
        finally:
            os.close(handle)
    return sum(gone) / max(len(gone), 1)


def _is_cached(handle: int, offset: int) -> bool:
    try:
        return os.preadv(handle, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
