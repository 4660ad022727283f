"""Finished parts of a folder that is still being written, so that whoever comes after a killed writer goes on there.

A part is a set of files that nobody writes again: whole chunks or shards of a store. It is finished when its files are
on the disk and a line of the ledger holds their digests; a line is believed only while the files still have them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LEDGER = ".parts"
"""Name of the file that tells a folder with finished parts from other leftovers."""
_AT_ONCE = 8
"""A file system takes files to the disk together where they are asked for together."""


class Parts:
    """The finished parts of a folder.

    Parameters
    ----------
    folder
        Provided by `publish`: empty, or as a killed writer left it.
    lay_out
        Writes everything but the parts; not called where a killed writer got further than that.
    """

    def __init__(self, folder: Path, lay_out: Callable[[], object]) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._finished: dict[str, dict[str, str]] = {}
        ledger = folder / LEDGER
        if ledger.is_file():
            # Zarr writes a chunk under such a name and then gives it its own.
            for torn in folder.rglob("*.partial"):
                torn.unlink()
            self._finished = {name: files for name, files in _lines(ledger).items() if self._holds(files)}
        else:
            lay_out()
            settled(path for path in folder.rglob("*") if path.is_file())
        fresh = ledger.with_suffix(".new")
        fresh.write_text("".join(map(_line, self._finished.items())), encoding="utf-8")
        fresh.replace(ledger)

    def __contains__(self, name: str) -> bool:
        """Return whether a part is finished."""
        return name in self._finished

    def finish(self, name: str, files: Iterable[Path]) -> None:
        """Take a part's files to the disk and enter it; from any thread."""
        digests = {str(path.relative_to(self._folder)): found for path, found in settled(files).items()}
        with self._lock, (self._folder / LEDGER).open("a", encoding="utf-8") as ledger:
            ledger.write(_line((name, digests)))
            ledger.flush()
            os.fsync(ledger.fileno())
        self._finished[name] = digests

    def _holds(self, files: dict[str, str]) -> bool:
        paths = [self._folder / name for name in files]
        return all(path.is_file() for path in paths) and list(settled(paths).values()) == list(files.values())


def settled(paths: Iterable[Path]) -> dict[Path, str]:
    """Take files to the disk and return the sha256 of what they hold."""
    found = list(paths)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(found, pool.map(_settled, found), strict=True))


def digests(folder: Path) -> dict[Path, str]:
    """Return the digest of every file of the folder's finished parts, as the ledger has it."""
    ledger = folder / LEDGER
    if not ledger.is_file():
        return {}
    return {folder / name: found for files in _lines(ledger).values() for name, found in files.items()}


def _settled(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(part: tuple[str, dict[str, str]]) -> str:
    return json.dumps(part) + "\n"


def _lines(ledger: Path) -> dict[str, dict[str, str]]:
    """Read the ledger; the last line may be torn, because its writer was killed."""
    whole = [line for line in ledger.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return dict(json.loads(line) for line in whole)
