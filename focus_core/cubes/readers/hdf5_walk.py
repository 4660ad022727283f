"""Walks through an HDF5 file, as a program of its own that imports nothing of this project.

A damaged file can make the HDF5 library run in a circle, take all memory or crash. Here that ends this process and no
other: ``python hdf5_walk.py FILE SECONDS BYTES`` ends with 0 where every object, attribute, list of chunks and small
array gave an answer, be it a refusal; else a limit on processor seconds or memory, or the crash, ends it.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import Any

import h5py

_SMALL = 2**20
_REFUSALS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, AttributeError)


def walk(file: Any) -> None:
    """Touch everything that a reader may touch before it reads a large array."""
    seen, open_groups = set(), [file]
    while open_groups:
        group = open_groups.pop()
        names: list[str] = []
        with contextlib.suppress(*_REFUSALS):
            _attributes(group)
            names = list(group)
        for name in names:
            with contextlib.suppress(*_REFUSALS):
                if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                    continue
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    open_groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    _dataset(item)


def _attributes(item: Any) -> None:
    for key in item.attrs:
        with contextlib.suppress(*_REFUSALS):
            item.attrs[key]


def _dataset(item: Any) -> None:
    _attributes(item)
    if item.chunks:
        item.id.chunk_iter(lambda chunk: None)
    if not item.is_virtual and not item.external and item.nbytes <= _SMALL:
        item[()]


def _main() -> None:
    path, seconds, memory = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(*_REFUSALS), h5py.File(path, "r") as file:
        walk(file)


if __name__ == "__main__":
    _main()
