"""What raw files hold, hashed while they are read for their pixels: one waits for the disk, the other for the cores.

Knows files; neither what they mean nor what is made of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from focus_core.cubes.record import digest
from focus_core.errors import CubeError


class Contents:
    """The digests of raw files, on their way.

    Parameters
    ----------
    paths
        Files, and folders that are raw stores.
    pool
        Whose threads read them.
    """

    def __init__(self, paths: Sequence[Path], pool: ThreadPoolExecutor) -> None:
        self.stamps = {str(path): _stamp(path) for path in paths}
        """What tells each from what it was at another time without reading it: its files' sizes and times of change."""
        self._found = {str(path): pool.submit(_digest, path) for path in paths}

    def digests(self) -> dict[str, str]:
        """Wait for the sha256 of each file, or of all files of a raw store.

        Raises
        ------
        CubeError
            If one cannot be read, or has changed meanwhile: what was read of it may be of either state.
        """
        found = {}
        for name, on_the_way in self._found.items():
            try:
                found[name] = on_the_way.result()
            except OSError as error:
                raise CubeError(f"{name}: cannot be read: {error.strerror}; mend or replace the file") from error
            if _stamp(Path(name)) != self.stamps[name]:
                raise CubeError(f"{name}: changed while it was read; run ingest again once it is complete")
        return found


@contextmanager
def hashing(paths: Sequence[Path]) -> Iterator[Contents]:
    """Hash raw files beside what the block does."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield Contents(paths, pool)


def _stamp(path: Path) -> str:
    found = [part.stat() for part in _files(path)]
    states = [(state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in found]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _digest(path: Path) -> str:
    if path.is_file():
        return digest(path)
    total = hashlib.sha256()
    for part in _files(path):
        total.update(f"{part.relative_to(path).as_posix()}\0{digest(part)}\0".encode())
    return total.hexdigest()


def _files(path: Path) -> Iterable[Path]:
    return (path,) if path.is_file() else [part for part in sorted(path.rglob("*")) if part.is_file()]
