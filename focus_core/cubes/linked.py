"""Parts of a store along the first axis of its variables, each in files of its own.

A new version of a store takes over the files of parts that stay as they are: they are linked, neither read nor
written, and their digests stand in the store. Knows chunk keys; does not know what a part is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHUNK_KEYS = {"name": "default", "configuration": {"separator": "."}}
"""Encoding of the variables' chunk keys: all chunks of a variable lie in one folder."""
ATTRIBUTE = "parts"
"""Attribute of the store: ``{"dim": name of the axis, "digests": sha256 of each part, in the order of the axis}``."""

_KEY = re.compile(r"c\.(\d+)\.(.+)")


def part_files(folder: Path, dim: str) -> Mapping[int, dict[str, Path]]:
    """Return the files of each part by its position; within a part by variable and the rest of the chunk's key."""
    found: dict[int, dict[str, Path]] = defaultdict(dict)
    for name in layouts(folder, dim):
        for path in (folder / name).iterdir():
            key = _KEY.fullmatch(path.name)
            if key is not None:
                found[int(key[1])][f"{name}/{key[2]}"] = path
    return found


def layouts(folder: Path, dim: str) -> dict[str, dict[str, Any]]:
    """Return how each variable whose first axis is ``dim`` is stored, whatever its size and attributes.

    A coordinate along the axis itself is none of them: it holds all parts in one chunk.
    """
    found = {}
    for path in folder.glob("*/zarr.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        dims = content.get("dimension_names") or []
        if len(dims) > 1 and dims[0] == dim:
            found[path.parent.name] = {key: content[key] for key in content.keys() - {"shape", "attributes"}}
    return found


def part_digest(files: Mapping[str, Path]) -> str:
    """Return the sha256 of a part's names and contents; it does not depend on the part's position."""
    total = hashlib.sha256()
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            total.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def take_over(files: Mapping[str, Path], folder: Path, position: int) -> None:
    """Give a part's files a name in another version of the store too; copied where the file system has no links."""
    for name, path in files.items():
        variable, rest = name.split("/")
        target = folder / variable / f"c.{position}.{rest}"
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
