"""The text header of ENVI files, as the ENVI documentation and its many writers have it.

Knows keys, lists and numbers; does not open the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from focus_core.errors import CubeError, MissingInputError

_LARGEST_HEADER = 16 * 2**20
_LARGEST_COUNT = 2**31
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True)
class EnviHeader:
    """Keys in lower case with their text; lists stay text until they are asked for."""

    path: Path
    fields: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> EnviHeader:
        """Parse a header file.

        Raises
        ------
        MissingInputError
            If there is no such file.
        CubeError
            If it is not an ENVI header, or a list in it has no end.
        """
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_HEADER + 1)
        except FileNotFoundError as error:
            raise MissingInputError(f"{path}: no such header; check the path") from error
        if len(content) > _LARGEST_HEADER:
            raise CubeError(f"{path}: header larger than {_LARGEST_HEADER} bytes; this is no ENVI header")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")  # 'µm' as programs on Windows write it
        lines = text.lstrip("\ufeff").splitlines()
        if not lines or lines[0].strip() != "ENVI":
            raise CubeError(f"{path}: an ENVI header starts with the line 'ENVI'; name the right header file")
        return cls(path, _fields(path, lines[1:]))

    def error(self, key: str, message: str) -> CubeError:
        """Build an error that names the header and the key."""
        return CubeError(f"{self.path}: '{key}': {message}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text of a key.

        Raises
        ------
        CubeError
            If the key is missing and there is no default.
        """
        if key in self.fields:
            return self.fields[key]
        if default is None:
            raise self.error(key, "is missing; add it to the header")
        return default

    def count(self, key: str, *, default: int | None = None, least: int = 1) -> int:
        """Return a whole number that is at least ``least``."""
        text = self.text(key, None if default is None else str(default))
        try:
            value = int(text)
        except ValueError as error:
            raise self.error(key, f"expected a whole number, found '{text[:40]}'") from error
        if not least <= value < _LARGEST_COUNT:
            raise self.error(key, f"expected a whole number from {least} on, found {value}")
        return value

    def number(self, key: str) -> float | None:
        """Return a number, or none where the key is missing."""
        if key not in self.fields:
            return None
        try:
            return float(self.fields[key].strip("{} "))
        except ValueError as error:
            raise self.error(key, f"expected a number, found '{self.fields[key][:40]}'") from error

    def strings(self, key: str) -> list[str] | None:
        """Return a list ``{a, b}``; commas inside parentheses do not separate, and one may stand at the end."""
        if key not in self.fields:
            return None
        inner = self.fields[key].strip()
        inner = inner[1:-1] if inner.startswith("{") and inner.endswith("}") else inner
        parts = [part.strip() for part in _COMMA_OUTSIDE_PARENTHESES.split(inner)]
        return parts[:-1] if parts and not parts[-1] else parts

    def numbers(self, key: str, length: int) -> npt.NDArray[np.float64] | None:
        """Return a list of ``length`` numbers, or none where the key is missing or its list is empty.

        Raises
        ------
        CubeError
            If it holds text, or another count of numbers.
        """
        parts = self.strings(key)
        if not parts:
            return None
        if len(parts) != length:
            raise self.error(key, f"holds {len(parts)} numbers for {length} bands; correct the header")
        try:
            return np.array([float(part) for part in parts], dtype=np.float64)
        except ValueError as error:
            raise self.error(key, f"expected numbers: {error}") from error


def _fields(path: Path, lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rows = iter(_with_braces(lines))
    for line in rows:
        if line.lstrip().startswith(";") or "=" not in line:
            continue
        key, value = (part.strip() for part in line.split("=", 1))
        if value.startswith("{"):
            parts = [value]
            while not parts[-1].rstrip().endswith("}"):
                try:
                    following = next(rows)
                except StopIteration:
                    raise CubeError(f"{path}: '{key}': the list has no closing brace; the header is cut off") from None
                if not following.lstrip().startswith(";"):
                    parts.append(following)
            value = "\n".join(parts).strip()
        name = " ".join(key.lower().split())
        if found.setdefault(name, value) != value:
            raise CubeError(f"{path}: '{name}': stands twice and contradicts itself; keep one")
    return found


def _with_braces(lines: list[str]) -> list[str]:
    """Return the lines, a list that opens on the line after its key joined to it."""
    joined: list[str] = []
    for line in lines:
        if line.lstrip().startswith("{") and joined and joined[-1].rstrip().endswith("="):
            joined[-1] += line
        else:
            joined.append(line)
    return joined
