"""The step ``tile``: ``cube.zarr`` and plots in, ``tiles.zarr`` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from rich.console import Console
from rich.progress import track

from focus_core.config import FOLDS, CampaignFile, TileSettings
from focus_core.cubes.axes import PixelGrid
from focus_core.cubes.crs import campaign_crs, same_crs
from focus_core.cubes.parts import Parts
from focus_core.cubes.plots import read_plots
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest, record
from focus_core.cubes.schema import CUBE, TILES
from focus_core.cubes.store import QUICK, open_store, pixel_grid, quantised, write_store, zarr_store
from focus_core.cubes.tiling import BandStatistics, BlockReader, Tiling, read_tiles, tile_campaign
from focus_core.cubes.trim import trimmed
from focus_core.errors import StoreError
from focus_core.steps._status import recorded

_LOGGER = logging.getLogger(__name__)


@recorded("tiles_uri")
def tile(campaign_file: str, cube_uri: str, tiles_uri: str, *, settings: TileSettings) -> Metrics:
    """Cut a cube into windows, each assigned to one plot, and split them by trial block.

    Parameters
    ----------
    campaign_file
        Path of the campaign file: plots, window and folds.
    cube_uri
        The campaign's ``cube.zarr``.
    tiles_uri
        Target of ``tiles.zarr``.
    settings
        What is left out at the edges of plots, what is dropped, and the layout.

    Returns
    -------
    Metrics
        ``tiles`` and ``plots``, also of each fold; ``plots_without_tile``, ``plots_cut`` (partly outside the image),
        ``pixels_shared`` (that more than one plot claims), ``dropped.guard``, ``dropped.invalid``, ``bytes`` of pixels,
        ``bytes_copied_again`` through overlap, ``chunks_decoded``.

    Raises
    ------
    CampaignError
        If a plot lies outside the image (of a flight without its damaged cubes, if all do), plots of two folds share
        a pixel, or a class has no training window.
    SettingsError
        If nothing is left of a plot, or its edges cannot be trimmed.
    StoreError
        If the cube is another campaign's, lies in another CRS, or has lost a part.
    MissingInputError
        If an input does not exist.
    TargetError
        If the target cannot be written.
    """
    file = CampaignFile(campaign_file).rotated(settings.folds_seed)
    return publish(
        tiles_uri,
        step="tile",
        inputs={
            "campaign": digest(file.path),
            **{f"plots {number}": digest(path) for number, path in enumerate(file.plots_paths, start=1)},
            "cube": digest(cube_uri),
        },
        settings=settings,
        write=lambda folder: _write(folder, file, cube_uri, settings),
    )


def _write(folder: Path, file: CampaignFile, cube_uri: str, settings: TileSettings) -> Metrics:
    cube = open_store(cube_uri, CUBE)
    grid = pixel_grid(cube, cube_uri)
    _refuse_other_campaign(file, cube, grid, cube_uri)
    array = zarr.open_group(zarr_store(cube_uri), mode="r")["reflectance"]
    valid = _valid(cube, cube_uri)
    tiling = tile_campaign(
        file,
        trimmed(read_plots(file, grid.shape), settings),
        grid,
        valid,
        min_valid_fraction=settings.min_valid_fraction,
        block_px=array.chunks[1],  # type: ignore[union-attr]
        incomplete=bool(cube.attrs.get("left_out")),
    )
    _tell_of_absent_classes(file, tiling)
    if tiling.shared:
        _LOGGER.warning(
            "%s: %d pixels lie in more than one plot and count in each; draw the plots apart if they were drawn twice",
            file.campaign.campaign,
            tiling.shared,
        )
    scale = float(cube["reflectance"].encoding["scale_factor"])
    shard = min(settings.tiles_per_shard, len(tiling.tiles))
    dataset = _layout(file, cube, tiling, settings, grid)
    parts = Parts(folder, lambda: _lay_out(folder, dataset, scale, shard))
    reader, statistics = BlockReader(array), BandStatistics(cube.sizes["band"])
    shards = _in_shards(read_tiles(tiling, reader, valid, statistics, good=cube["good_band"].to_numpy()), shard)
    _fill(folder, f"tile {file.campaign.campaign}", shards, -(-len(tiling.tiles) // shard), parts)
    group = zarr.open_group(folder, mode="r+")
    for name, values in statistics.scaled(scale).items():
        group[f"band_{name}"][:] = values  # type: ignore[index]
    _LOGGER.info("%s: %d tiles of %d plots", file.campaign.campaign, len(tiling.tiles), len(tiling.plots))
    return {**dataset.attrs["summary"], "chunks_decoded": float(reader.decoded)}


def _tell_of_absent_classes(file: CampaignFile, tiling: Tiling) -> None:
    """Say of which class a labelled fold has no window: its figures are then of the other classes only."""
    found = {(tile.plot.fold, tile.plot.label) for tile in tiling.tiles if tile.plot.label >= 0}
    for fold in sorted({fold for fold, _ in found}, key=FOLDS.index):
        absent = [name for label, name in enumerate(file.campaign.classes) if (fold, label) not in found]
        if absent:
            _LOGGER.warning(
                "%s: the fold '%s' has no window of %s, and its figures leave that out; choose another folds.seed, "
                "larger shares, or a smaller window or guard",
                file.campaign.campaign,
                fold,
                ", ".join(absent),
            )


def _lay_out(folder: Path, dataset: xr.Dataset, scale: float, shard: int) -> None:
    _, *tile_shape = dataset["reflectance"].shape
    layout = {"chunks": (1, *tile_shape), "shards": (shard, *tile_shape)}
    encoding = {"reflectance": {**quantised(scale, QUICK), **layout}}
    write_store(dataset, folder, TILES, encoding=encoding, compute=False)


def _fill(folder: Path, name: str, shards: Iterator[npt.NDArray[np.int16]], count: int, parts: Parts) -> None:
    """Write the shards that are not written; the others are cut again all the same, for the statistics."""
    pixels: Any = zarr.open_group(folder, mode="r+")["reflectance"]
    console = Console(stderr=True)
    watched = track(shards, name, total=count, console=console, disable=not console.is_terminal, transient=True)
    start = 0
    for number, tiles in enumerate(watched):
        if str(number) not in parts:
            pixels[start : start + len(tiles)] = tiles
            parts.finish(str(number), folder.glob(f"reflectance/c/{number}/*/*/*"))
        start += len(tiles)


def _refuse_other_campaign(file: CampaignFile, cube: xr.Dataset, grid: PixelGrid, cube_uri: str) -> None:
    for key in ("campaign", "quantity"):
        wanted, found = getattr(file.campaign, key), cube.attrs[key]
        if wanted != found:
            raise StoreError(f"'{cube_uri}': {key} '{found}', but {file.path.name} says '{wanted}'; run ingest again")
    wanted_crs = campaign_crs(file)
    if not same_crs(wanted_crs, grid.crs):
        raise StoreError(f"'{cube_uri}' lies in {grid.crs}, but {file.path.name} says {wanted_crs}; run ingest again")


def _valid(cube: xr.Dataset, cube_uri: str) -> npt.NDArray[np.bool_]:
    """Return the valid pixels; of a chunk that is not there, Zarr would say that none is."""
    valid = cube["valid"].to_numpy()
    counted = record(cube_uri)["metrics"].get("invalid_pixels")
    if counted is not None and counted != (found := valid.size - int(valid.sum())):
        raise StoreError(
            f"'{cube_uri}' has {found} invalid pixels, but {counted:.0f} when it was written: part of it is lost; "
            "remove it and run ingest again"
        )
    return valid


def _layout(
    file: CampaignFile, cube: xr.Dataset, tiling: Tiling, settings: TileSettings, grid: PixelGrid
) -> xr.Dataset:
    """Return the whole store but for the pixels and their statistics."""
    campaign, tiles = file.campaign, tiling.tiles
    size, bands = campaign.window.size_px, cube.sizes["band"]
    text = np.dtypes.StringDType()
    crs = campaign_crs(file)
    pixels = da.full(
        (len(tiles), bands, size, size), np.nan, dtype=np.float32, chunks=(settings.tiles_per_shard, -1, -1, -1)
    )
    return xr.Dataset(
        {
            "reflectance": (("tile", "band", "ty", "tx"), pixels, {"long_name": campaign.quantity}),
            "band_mean": ("band", np.zeros(bands)),
            "band_std": ("band", np.ones(bands)),
            "band_low": ("band", np.full(bands, -np.inf)),
            "band_high": ("band", np.full(bands, np.inf)),
        },
        coords={
            "wavelength": cube["wavelength"].load().variable.compute(),  # not lazy: only pixels are filled later
            "fwhm": cube["fwhm"].load().variable.compute(),
            "good_band": cube["good_band"].load().variable.compute(),
            "row": ("tile", np.array([item.window.row for item in tiles], dtype=np.int64)),
            "col": ("tile", np.array([item.window.col for item in tiles], dtype=np.int64)),
            "plot": ("tile", np.array([item.plot.plot for item in tiles], dtype=text)),
            "label": ("tile", np.array([item.plot.label for item in tiles], dtype=np.int64)),
            "fold": ("tile", np.array([item.plot.fold for item in tiles], dtype=text)),
            "valid_fraction": ("tile", np.array([item.valid_fraction for item in tiles])),
            "coverage": ("tile", np.array([item.coverage for item in tiles])),
        },
        attrs={
            "campaign": campaign.campaign,
            "date": campaign.date.isoformat(),
            "quantity": campaign.quantity,
            "simulated": campaign.simulated,
            "classes": list(campaign.classes),
            "reference_class": campaign.reference_class or "",
            "groups": {group.name: [group.lo_nm, group.hi_nm] for group in campaign.wavelength_groups.groups},
            "input_px": campaign.window.input_px,
            "transform": [float(value) for value in tuple(grid.transform)[:6]],
            "crs": "" if crs is None else crs.to_wkt(),
            "summary": _summary(tiling, size, bands),
        },
    )


def _summary(tiling: Tiling, size: int, bands: int) -> Metrics:
    kept = {item.plot.plot for item in tiling.tiles}
    summary: dict[str, float] = {"tiles": len(tiling.tiles), "plots": len(kept)}
    for fold in FOLDS:
        of_fold = [item for item in tiling.tiles if item.plot.fold == fold]
        summary[f"tiles.{fold}"] = len(of_fold)
        summary[f"plots.{fold}"] = len({item.plot.plot for item in of_fold})
    spectrum = bands * np.dtype(np.int16).itemsize
    copied = len(tiling.tiles) * size * size
    summary |= {
        "plots_without_tile": len(tiling.plots) - len(kept),
        "plots_cut": sum(plot.cut for plot in tiling.plots),
        "pixels_shared": tiling.shared,
        "dropped.guard": tiling.dropped.guard,
        "dropped.invalid": tiling.dropped.invalid,
        "bytes": copied * spectrum,
        "bytes_copied_again": (copied - _distinct_pixels(tiling)) * spectrum,
    }
    return {name: float(value) for name, value in summary.items()}


def _distinct_pixels(tiling: Tiling) -> int:
    """Pixels in at least one window, windows of different plots counted apart since they are masked apart."""
    total = 0
    for plot in tiling.plots:
        boxes = [item.window.box for item in tiling.tiles if item.plot is plot]
        if boxes:
            top, left = min(box.row for box in boxes), min(box.col for box in boxes)
            bottom, right = max(box.row + box.rows for box in boxes), max(box.col + box.cols for box in boxes)
            seen = np.zeros((bottom - top, right - left), dtype=np.bool_)
            for box in boxes:
                seen[box.row - top : box.row - top + box.rows, box.col - left : box.col - left + box.cols] = True
            total += int(seen.sum())
    return total


def _in_shards(parts: Iterator[npt.NDArray[np.int16]], length: int) -> Iterator[npt.NDArray[np.int16]]:
    """Regroup tiles so that each piece is one shard: two writers never meet in a file."""
    held: list[npt.NDArray[Any]] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= length:
            joined = np.concatenate(held)
            whole = len(joined) // length * length
            for start in range(0, whole, length):
                yield joined[start : start + length]
            held, count = [joined[whole:]], len(joined) - whole
    if count:
        yield np.concatenate(held)
