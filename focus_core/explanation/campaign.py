"""Explain all tiles of a campaign, one task for each shard of ``explanation.zarr``.

A shard belongs to one task, on a thread of this process or a Dask worker. It is entered as finished here, by one
process, unless one of its tiles failed: that one may be explained when a killed run goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
import zarr
from rich.console import Console
from rich.progress import track
from zarr.codecs import BloscCodec

from focus_core.cluster import available_cpus, dask_client
from focus_core.config import ExplainSettings
from focus_core.cubes.parts import Parts
from focus_core.cubes.schema import EXPLANATION, TILES
from focus_core.cubes.store import checked, open_store, write_store
from focus_core.explanation.tiles import PER_TILE, explain_again, explain_arrays, fixed_variables, tile_coords
from focus_core.model import Focus, placement

_PACKED = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=4)
_PLACING = threading.Lock()


def explain_campaign(
    model: Focus,
    tiles_uri: str,
    folder: Path,
    attrs: dict[str, Any],
    *,
    settings: ExplainSettings,
    again: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float64]:
    """Fill a folder with the explanation of every tile; what an interrupted run finished there is verified and kept.

    Memory holds a batch of tiles and a shard of results for each task that runs, whatever the size of the campaign.
    Every task takes one core; where there are fewer shards than cores, so many that all are used. At a scheduler's
    address the model is handed to each worker once, and workers are taken to have a thread for each of their cores.

    Parameters
    ----------
    model
        The model, on the processor.
    tiles_uri
        The ``tiles.zarr``, under the same path for every worker.
    folder
        Empty, or what an earlier run left; under the same path for every worker. With ``again`` a whole explanation.
    attrs
        Attributes of the store.
    settings
        Sizes of batches and shards, device, and where the tasks run.
    again
        Tiles to explain once more; no other is read or changed.

    Returns
    -------
    numpy.ndarray
        Of a model that carries its training plots, what `group_means` says of the tiles ``(tile, group)``; NaN for
        those that this call had no need to read.

    Raises
    ------
    SettingsError
        If no scheduler answers at the address.
    """
    tiles, size = open_store(tiles_uri, TILES), settings.tiles_per_shard
    shards = -(-tiles.sizes["tile"] // size)
    if again is None:
        parts = Parts(folder, lambda: _lay_out(model, tiles, folder, attrs, size))
        waiting = [shard for shard in range(shards) if str(shard) not in parts]
    else:
        parts = None
        waiting = np.unique(again // size).tolist()
    threads = 1 if settings.dask_scheduler else max(1, available_cpus() // shards)
    means = np.full((tiles.sizes["tile"], len(model.spec.groups)), np.nan)
    before = torch.get_num_threads()
    try:
        with dask_client(settings.dask_scheduler) as client:
            held = model if client is None else client.scatter(model, broadcast=True, hash=False)
            workers = (
                ThreadPoolExecutor(available_cpus() // threads) if client is None else client.get_executor(pure=False)
            )
            with workers:
                one = (str(folder), threads, settings, again)
                tasks = {workers.submit(explain_shard, held, tiles_uri, shard, *one): shard for shard in waiting}
                try:
                    for task in _watched(as_completed(tasks), len(tasks)):
                        shard, (whole, found) = tasks[task], task.result()
                        means[shard * size : (shard + 1) * size] = found
                        if whole and parts is not None:
                            parts.finish(str(shard), _files(folder, shard))
                finally:
                    for task in tasks:
                        task.cancel()
    finally:
        torch.set_num_threads(before)
    return means


def explain_shard(
    model: Focus,
    tiles_uri: str,
    shard: int,
    folder: str,
    threads: int,
    settings: ExplainSettings,
    again: npt.NDArray[np.int64] | None,
) -> tuple[bool, npt.NDArray[np.float64]]:
    """Explain the tiles of one shard, or those of ``again`` in it, and write it.

    Returns whether none of the shard's tiles failed, and what `group_means` says of those that were read.
    """
    torch.set_num_threads(threads)
    with _PLACING:
        model.place(placement(settings.device))
    tiles, start = open_store(tiles_uri, TILES), shard * settings.tiles_per_shard
    index = np.arange(start, min(start + settings.tiles_per_shard, tiles.sizes["tile"]))
    group: Any = zarr.open_group(folder, mode="r+")
    place, names = slice(index[0], index[-1] + 1), (*PER_TILE, "failure")
    if again is None:
        arrays = explain_arrays(model, tiles, index, settings.batch_tiles)
    else:
        arrays = {name: group[name][place] for name in names}
        arrays["reflectance"] = np.full((len(index), len(model.spec.groups)), np.nan)
        explain_again(model, tiles, index, settings.batch_tiles, arrays, again)
    for name in names:
        group[name][place] = arrays[name]
    return not (arrays["failure"] != "").any(), arrays["reflectance"]


def _files(folder: Path, shard: int) -> Iterator[Path]:
    for name in PER_TILE:
        yield from (path for path in folder.glob(f"{name}/c/{shard}/**/*") if path.is_file())


def _lay_out(model: Focus, tiles: xr.Dataset, folder: Path, attrs: dict[str, Any], tiles_per_shard: int) -> None:
    """Write the whole store but for what the tasks write."""
    count, fixed = tiles.sizes["tile"], fixed_variables(model, tiles)
    own = {"tile": count, "seed": model.spec.prompt_seeds, "py": model.layout.rows, "px": model.layout.cols}
    sizes: dict[Any, int] = {**fixed.sizes, **own}
    shard = min(tiles_per_shard, count)
    blank: dict[str, Any] = {}
    encoding: dict[str, dict[str, Any]] = {}
    for name, dims in PER_TILE.items():
        shape = [sizes[dim] for dim in dims]
        blank[name] = (dims, da.full(shape, np.nan, dtype=np.float32, chunks=(shard, *shape[1:])))
        encoding[name] = {"chunks": (shard, *shape[1:]), "fill_value": np.nan, **checked(_PACKED)}
    failure = da.full(count, "", dtype=np.dtypes.StringDType(), chunks=shard)
    encoding["failure"] = {"chunks": (shard,)}
    coords = {**tile_coords(tiles, np.arange(count)), "failure": ("tile", failure)}
    dataset = xr.Dataset(blank, coords=coords, attrs=attrs).merge(fixed, combine_attrs="override")
    write_store(dataset, folder, EXPLANATION, encoding=encoding, compute=False)


def _watched(tasks: Iterator[Future[Any]], count: int) -> Iterable[Future[Any]]:
    """Show how many shards are done, where somebody watches."""
    console = Console(stderr=True)
    return track(tasks, "explain", total=count, console=console, disable=not console.is_terminal, transient=True)
