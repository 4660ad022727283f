"""Tiles in memory are what was measured, or a refusal; never a damaged one's numbers."""

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from focus_core.batches import read_readable_tiles, read_tiles, stream_tiles
from focus_core.cubes.schema import FILL, TILES
from focus_core.cubes.store import open_store, quantised
from focus_core.cubes.whole_chunks import quick_reading
from focus_core.errors import StoreError
from tests.focus_core.aggregation.small_field import publish_store
from tests.focus_core.steps.planted import tiles

COUNT, PER_SHARD, SIDE = 24, 10, 12
"""The last shard is not full."""
READS = {"whole": range(10), "edge": range(20, 24), "part": range(21, 23), "one": [22], "apart": [3, 22, 9]}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    flight = tiles(plots=COUNT // 2)
    flight["reflectance"][5, :, :4] = np.nan
    layout = {"chunks": (1, 12, SIDE, SIDE), "shards": (PER_SHARD, 12, SIDE, SIDE)}
    publish_store(tmp_path / "tiles.zarr", flight, TILES, {"reflectance": {**quantised(), **layout}})
    return str(tmp_path / "tiles.zarr")


@pytest.mark.parametrize("wanted", [*READS.values(), range(24), [0]])
def test_tiles_are_what_anybody_reads_from_the_store(uri: str, wanted: Iterable[int]) -> None:
    anybody = xr.open_zarr(uri, consolidated=False)["reflectance"].to_numpy()
    found = read_tiles(open_store(uri, TILES), list(wanted))
    np.testing.assert_allclose(found, anybody[list(wanted)], rtol=2e-7)  # one rounding to float32
    assert np.isnan(anybody[5, :, :4]).all()


def test_tiles_that_are_held_as_numbers_need_no_store(uri: str) -> None:
    held = xr.open_zarr(uri, consolidated=False).load()
    np.testing.assert_allclose(read_tiles(held, [4, 5, 6]), read_tiles(open_store(uri, TILES), [4, 5, 6]), rtol=2e-7)


@pytest.mark.parametrize("name", ["whole", "edge", "part", "one", "apart"])
def test_no_changed_byte_of_a_tile_passes_for_measured(uri: str, name: str) -> None:
    wanted = list(READS[name])
    tile = 7 if name == "whole" else 22
    path = Path(uri) / "reflectance" / "c" / str(tile // PER_SHARD) / "0" / "0" / "0"
    content = path.read_bytes()
    index = np.frombuffer(content[-4 - 16 * PER_SHARD : -4], dtype="<u8").reshape(PER_SHARD, 2)
    start, length = (int(number) for number in index[tile % PER_SHARD])
    for place in {*range(start, start + length, length // 40), start + length - 1}:
        changed = bytearray(content)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        dataset = open_store(uri, TILES)
        with pytest.raises(StoreError, match=r"cannot be read: .*checksum.*; run tile again"):
            read_tiles(dataset, wanted)
    found, reasons = read_readable_tiles(dataset, np.array(wanted))
    assert list(reasons) == [tile]
    path.write_bytes(content)
    whole = read_tiles(open_store(uri, TILES), wanted)
    for position, each in enumerate(wanted):
        assert found[position].isnan().all() if each == tile else np.array_equal(found[position], whole[position], True)


@pytest.mark.parametrize("batch", [1, 7, 10, 64])
def test_a_stream_gives_every_tile_once_in_order(uri: str, batch: int) -> None:
    dataset, index = open_store(uri, TILES), np.array([3, 4, 5, 6, 20, 9, 10, 11])
    parts = list(stream_tiles(dataset, index, batch))
    assert [len(part) for part, _ in parts[:-1]] == [batch] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), index)
    np.testing.assert_array_equal(np.concatenate([found for _, found in parts]), read_tiles(dataset, index))
    assert list(stream_tiles(dataset, index[:0], batch)) == []


def test_threads_that_open_stores_leave_zarr_as_it_was(uri: str) -> None:
    before = zarr.config.get("codec_pipeline.path")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_store(uri, TILES)["reflectance"][3].to_numpy(), range(64)))
    assert all(np.array_equal(each, found[0]) for each in found)
    assert zarr.config.get("codec_pipeline.path") == before


def test_the_same_numbers_are_the_same_bytes_whoever_opened_the_store(uri: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(uri, copy)
    content = {path.relative_to(uri): path.read_bytes() for path in Path(uri).rglob("*") if path.is_file()}
    with quick_reading():
        pixels = zarr.open_group(copy, mode="r+")["reflectance"]
    stored = pixels[:]
    pixels[:] = np.zeros_like(stored)
    pixels[:] = stored
    assert {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == content


def test_the_store_is_opened_as_steps(uri: str) -> None:
    """What is decoded by the reader costs a third of what Zarr's users get, and means the same."""
    steps = open_store(uri, TILES)["reflectance"]
    assert steps.dtype == np.int16
    assert int(steps[5, 0, 0, 0]) == FILL
