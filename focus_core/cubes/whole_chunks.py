"""How Zarr unpacks chunks here: whole ones by `zarrs`, which is several times as fast, parts of a shard by itself.

`zarrs` 0.2 checks no checksum of what it reads of a shard that it does not read whole; a damaged tile would pass for a
measured one. Knows nothing of what is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import zarr
from zarr.registry import register_pipeline
from zarrs import ZarrsCodecPipeline

# Many small chunks, as tiles are, are unpacked side by side; one by one, as Zarr would, takes half as long again.
zarr.config.set({"codec_pipeline.batch_size": 16, "async.concurrency": 64})


class WholeChunks(ZarrsCodecPipeline):
    """A pipeline of codecs for stores on this machine."""

    async def write(self, batch_info: Iterable[Any], value: Any, drop_axes: tuple[int, ...] = ()) -> None:
        """Pack as Zarr does: the same numbers are the same bytes, whoever opened the store."""
        assert self.python_impl is not None
        await self.python_impl.write(batch_info, value, drop_axes)

    async def read(self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()) -> None:
        """Unpack chunks into ``out``, each by who checks all of it.

        Raises
        ------
        ValueError, RuntimeError
            If one is damaged.
        """
        chunks = list(batch_info)
        whole = [chunk for chunk in chunks if _is_whole(chunk)]
        parts = [chunk for chunk in chunks if not _is_whole(chunk)]
        if whole:
            try:
                await super().read(whole, out, drop_axes)
            except OSError as error:  # what zarrs calls a damaged chunk too, and what elsewhere is a full disk
                raise ValueError(f"a chunk cannot be unpacked: {error}") from error
        if parts:
            assert self.python_impl is not None  # it is where zarrs may fall back, which we never forbid
            await self.python_impl.read(parts, out, drop_axes)


def _is_whole(chunk: Any) -> bool:
    """Return whether all of a chunk is asked for; the last of an array may be complete with less than a chunk holds."""
    _, spec, selection, _, _ = chunk
    return all(
        isinstance(part, slice) and part.indices(length) == (0, length, 1)
        for part, length in zip(selection, spec.shape, strict=True)
    )


register_pipeline(WholeChunks)
_OPENING = threading.Lock()


@contextmanager
def quick_reading() -> Iterator[None]:
    """Have stores that are opened within read so; one thread at a time, because Zarr is configured for all of them."""
    with _OPENING, zarr.config.set({"codec_pipeline.path": f"{WholeChunks.__module__}.{WholeChunks.__qualname__}"}):
        yield
