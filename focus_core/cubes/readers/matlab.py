"""Arrays in MATLAB files of version 5 to 7, which carry no wavelengths.

Reads the format itself ("MAT-File Format", The MathWorks), one array and no more than it declares: SciPy's reader, the
cross-check in the tests, crashes the interpreter on some damaged files.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from focus_core.cubes.readers.protocol import OpenedCube
from focus_core.cubes.readers.view import StoredArray, refuse_inflation
from focus_core.errors import CubeError

_ELEMENT = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x0800
_PREFIX = 4096
"""Bytes that hold an array's flags, shape and name."""
_PIECE = 2**20


@dataclass(frozen=True)
class _Stored:
    """A numeric array in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    at: int
    """Position in the file of the element that holds it."""
    real: int
    """Position of its numbers within that element."""


def open_matlab(path: Path, variable: str | None = None) -> OpenedCube:
    """Open the three-dimensional array ``(row, column, band)`` of a MATLAB file lazily.

    A compressed array can be unpacked from its beginning only, so that is done once, into a file that is gone with
    the cube.

    Raises
    ------
    CubeError
        If there is no such array, or more than one and none is named.
    """
    stored, read = _found(path, variable, dims=3)
    data = StoredArray(read, stored.shape[::-1], stored.dtype, axes=(0, 2, 1)).lazy()
    return OpenedCube(path=path, files=(path,), data=data, wavelength_source="none in the file")


def read_matlab(path: Path, variable: str | None, *, dims: int) -> Any:
    """Return the numeric array of ``dims`` dimensions that is named, or the only one there is.

    Raises
    ------
    CubeError
        If the file cannot be read, or the array cannot be found.
    """
    _, read = _found(path, variable, dims=dims)
    return read((slice(None),) * dims).T


def _found(path: Path, variable: str | None, *, dims: int) -> tuple[_Stored, Callable[[tuple[slice, ...]], Any]]:
    """Return an array, and what reads a part of it, axes reversed: MATLAB counts the first index fastest."""
    try:
        with path.open("rb") as file:
            order = {b"IM": "<", b"MI": ">"}[file.read(128)[126:128]]
            found = {item.name: item for item in _arrays(file, order) if len(item.shape) == dims}
            name = choose_array(path, variable, {key: item.shape for key, item in found.items()}, dims)
            return found[name], _numbers(path, file, order, found[name])
    except CubeError:
        raise
    except (ValueError, KeyError, IndexError, OverflowError, EOFError, OSError, zlib.error) as error:
        raise CubeError(f"{path}: cannot be read as a MATLAB file ({error!r}); copy it again") from error


def choose_array(path: Path, variable: str | None, found: dict[str, Any], dims: int) -> str:
    """Return the name of the array that is meant, among those found with their shapes.

    Raises
    ------
    CubeError
        If the named one is not there, or none is named and there is not exactly one.
    """
    listed = ", ".join(f"{name} {shape}" for name, shape in sorted(found.items())) or "none"
    if variable is not None and variable not in found:
        raise CubeError(f"{path}: no numeric array '{variable}' of {dims} dimensions; found: {listed}")
    if variable is None and len(found) != 1:
        raise CubeError(
            f"{path}: expected one numeric array of {dims} dimensions, found: {listed}; name the 'variable'"
        )
    return variable if variable is not None else next(iter(found))


def _arrays(file: Any, order: str) -> Iterator[_Stored]:
    at = 128
    while head := _exactly(file, at, 8, end=True):
        kind, size = np.frombuffer(head, order + "u4")
        stored = _described(_content(file, at, int(kind), int(size), _PREFIX), order, at)
        if stored is not None:
            yield stored
        at += 8 + int(size)


def _exactly(file: Any, at: int, count: int, *, end: bool = False) -> bytes:
    """Return ``count`` bytes; none at the end of the file, where that is allowed."""
    left = os.fstat(file.fileno()).st_size - at
    if left <= 0 and end:
        return b""
    if left < count:
        raise EOFError(f"{count} bytes wanted at {at}, {max(left, 0)} left")
    file.seek(at)
    return bytes(file.read(count))


def _content(file: Any, at: int, kind: int, size: int, most: int) -> bytes:
    """Return the first ``most`` bytes of a matrix, its tag left out."""
    if kind != _COMPRESSED:
        return _exactly(file, at + 8, min(size, most))
    if at + 8 + size > os.fstat(file.fileno()).st_size:
        raise EOFError(f"an array of {size} bytes at {at} is cut off")
    return zlib.decompressobj().decompress(_exactly(file, at + 8, min(size, _PIECE)), 8 + most)[8:]


def _described(content: bytes, order: str, at: int) -> _Stored | None:
    """Return what a matrix is; none if it is no real numeric array."""
    flags, after = _element(content, order, 0)
    if len(flags) < 8:
        raise EOFError("an array without flags")
    word = int(np.frombuffer(flags, order + "u4", 1)[0])
    if word & 0xFF not in _CLASS or word & _COMPLEX:
        return None
    dims, after = _element(content, order, after)
    name, after = _element(content, order, after)
    shape = tuple(int(length) for length in np.frombuffer(dims, order + "i4"))
    if min(shape, default=0) <= 0:
        return None
    return _Stored(name.decode("ascii"), shape, np.dtype(_CLASS[word & 0xFF]), at, after)


def _tag(content: bytes, order: str, at: int) -> tuple[int, int, int]:
    """Return kind, size in bytes and start of an element, which may be of the short form."""
    word = int(np.frombuffer(content, order + "u4", 1, at)[0])
    if word >> 16:
        return word & 0xFFFF, word >> 16, at + 4
    return word, int(np.frombuffer(content, order + "u4", 1, at + 4)[0]), at + 8


def _element(content: bytes, order: str, at: int) -> tuple[bytes, int]:
    """Return an element's content and where the next one starts, on a multiple of eight bytes."""
    _, size, start = _tag(content, order, at)
    if start + size > len(content):
        raise EOFError(f"an element of {size} bytes is cut off")
    return content[start : start + size], start + size + -(start + size) % 8


def _numbers(path: Path, file: Any, order: str, item: _Stored) -> Callable[[tuple[slice, ...]], Any]:
    count = math.prod(item.shape)
    refuse_inflation(path, item.name, count * item.dtype.itemsize, path.stat().st_size)
    kind, size = (int(number) for number in np.frombuffer(_exactly(file, item.at, 8), order + "u4"))
    code, held, start = _tag(_content(file, item.at, kind, size, item.real + 16), order, item.real)
    dtype = np.dtype(order + _ELEMENT[code])
    if held != count * dtype.itemsize:
        raise ValueError(f"'{item.name}' {item.shape} holds {held} bytes of {dtype}")
    if kind == _COMPRESSED:
        return partial(_read, _unpacked(file, item.at + 8, size, 8 + start + held), 8 + start, dtype, item)
    if start + held > size or item.at + 8 + start + held > path.stat().st_size:
        raise EOFError(f"'{item.name}' is cut off")
    return partial(_read, _mapped(file), item.at + 8 + start, dtype, item)


def _unpacked(file: Any, at: int, size: int, wanted: int) -> mmap.mmap:
    """Map the first ``wanted`` bytes of a compressed element, unpacked into a file that has no name."""
    unpacker = zlib.decompressobj()
    file.seek(at)
    with tempfile.TemporaryFile() as found:
        while found.tell() < wanted:
            packed = unpacker.unconsumed_tail or file.read(min(_PIECE, at + size - file.tell()))
            if not packed or unpacker.eof:
                raise EOFError(f"{wanted} bytes wanted, {found.tell()} found")
            found.write(unpacker.decompress(packed, min(_PIECE, wanted - found.tell())))
        found.flush()
        return _mapped(found)


def _mapped(file: Any) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read(source: mmap.mmap, at: int, dtype: np.dtype[Any], item: _Stored, part: tuple[slice, ...]) -> Any:
    numbers = np.frombuffer(source, dtype, math.prod(item.shape), at).reshape(item.shape[::-1])
    values = numbers[part].astype(item.dtype)
    source.madvise(mmap.MADV_DONTNEED)  # pages once read would count as this process's memory
    return values
