"""TIFF files by their specification (TIFF 6.0; Adobe's note on predictors; GDAL's on cloud-optimised ones), no library.

As much of it as `focus export` writes: little endian, deflate, tiles, samples of a pixel side by side.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_FORMATS = {1: "B", 2: "c", 3: "H", 4: "I", 11: "f", 12: "d", 16: "Q"}
_HORIZONTAL, _FLOATING = 2, 3


@dataclass(frozen=True)
class Image:
    """One image of a file: its tags by number, and where its directory stands."""

    content: bytes
    at: int
    tags: dict[int, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples, rows, columns."""
        return self.tags[277][0], self.tags[257][0], self.tags[256][0]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the tiles stand, row by row; 0 for one that is left out."""
        return tuple(self.tags[324])

    def text(self, tag: int) -> str:
        return b"".join(self.tags[tag]).rstrip(b"\0").decode()

    def pixels(self) -> npt.NDArray[Any]:
        """Samples, rows, columns."""
        samples, rows, cols = self.shape
        wide, high = self.tags[322][0], self.tags[323][0]
        across, down = -(-cols // wide), -(-rows // high)
        assert (self.tags[259], self.tags[284]) == ((8,), (1,))
        whole = np.stack([self._tile(number, (high, wide, samples)) for number in range(across * down)])
        whole = whole.reshape(down, across, high, wide, samples).transpose(4, 0, 2, 1, 3)
        return whole.reshape(samples, down * high, across * wide)[:, :rows, :cols]

    def _tile(self, number: int, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
        start, size = self.offsets[number], self.tags[325][number]
        high, wide, samples = shape
        floats = self.tags[339][0] == 3
        if not size:
            return np.full(shape, float(self.text(42113)), np.float32 if floats else np.uint8)
        stored = np.frombuffer(zlib.decompress(self.content[start : start + size]), np.uint8)
        predictor = self.tags.get(317, (1,))[0]
        if floats:
            assert (predictor, self.tags[258][0]) == (_FLOATING, 32)
            planes = stored.reshape(high, -1, samples).cumsum(axis=1, dtype=np.uint8).reshape(high, 4, wide * samples)
            return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(">f4").reshape(shape)
        assert (predictor, self.tags[258][0]) == (_HORIZONTAL, 8)
        return stored.reshape(shape).cumsum(axis=1, dtype=np.uint8)


def read_images(path: Path) -> list[Image]:
    """The images of a file in the order of their directories."""
    content = path.read_bytes()
    assert content[:4] == b"II*\0"
    (at,) = struct.unpack_from("<I", content, 4)
    found = []
    while at:
        (count,) = struct.unpack_from("<H", content, at)
        tags = dict(_tag(content, at + 2 + 12 * entry) for entry in range(count))
        found.append(Image(content, at, tags))
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * count)
    return found


def _tag(content: bytes, at: int) -> tuple[int, Any]:
    tag, kind, count = struct.unpack_from("<HHI", content, at)
    form = f"<{count}{_FORMATS[kind]}"
    place = at + 8 if struct.calcsize(form) <= 4 else struct.unpack_from("<I", content, at + 8)[0]
    return tag, struct.unpack_from(form, content, place)
