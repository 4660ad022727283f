"""From tiles.zarr to torch: the only bridge between xarray and the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from focus_core.config import Fold, WavelengthGroups, parse_groups
from focus_core.cubes.schema import FILL
from focus_core.errors import StoreError
from focus_core.model import BandScale, FrontEnd, ModelSpec

UNREADABLE = (OSError, RuntimeError, ValueError)
"""What reading a damaged chunk raises, by the codec that finds it."""
_READ_AHEAD = 3
_LOST = "it holds no pixel; its chunk is lost"


def read_tiles(tiles: xr.Dataset, index: Sequence[int] | npt.NDArray[np.int64]) -> Float[Tensor, "tile band ty tx"]:
    """Read some tiles into memory, float32, NaN outside their plots.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    index
        Which tiles, in the order wanted.

    Raises
    ------
    StoreError
        If one of them cannot be read.
    """
    wanted = np.asarray(index, dtype=np.int64)
    neighbours = bool(len(wanted)) and bool((np.diff(wanted) == 1).all())
    # Zarr reads a slice several times as fast as the same tiles by their numbers.
    part = slice(int(wanted[0]), int(wanted[-1]) + 1) if neighbours else wanted
    try:
        values = tiles["reflectance"].isel(tile=part).to_numpy()
    except UNREADABLE as error:
        raise StoreError(f"one of the tiles {wanted.tolist()} cannot be read: {error}; run tile again") from error
    if values.dtype.kind == "i":
        return _decoded(values, float(tiles["reflectance"].attrs["scale_factor"]))
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _decoded(stored: npt.NDArray[np.int16], scale: float) -> Float[Tensor, "tile band ty tx"]:
    """Return stored steps as numbers, tile by tile, so that each step finds its tile in the processor's cache.

    With numpy, which keeps to its thread: torch would wake all cores for every step, and batches are read side by side.
    """
    found = np.empty(stored.shape, dtype=np.float32)
    for steps, out in zip(stored, found, strict=True):
        np.copyto(out, steps)
        out *= np.float32(scale)
        if steps.min() == FILL:
            np.copyto(out, np.nan, where=steps == FILL)
    return torch.from_numpy(found)


def read_readable_tiles(
    tiles: xr.Dataset, index: npt.NDArray[np.int64]
) -> tuple[Float[Tensor, "tile band ty tx"], dict[int, str]]:
    """Read some tiles as `read_tiles` does; where that fails, each alone, so that a damaged one costs no other.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    index
        Which tiles.

    Returns
    -------
    tuple[Tensor, dict[int, str]]
        The tiles, NaN throughout where one cannot be read, and by tile the reason.
    """
    reasons: dict[int, str] = {}
    try:
        found = read_tiles(tiles, index)
    except StoreError:
        shape = [tiles.sizes[dim] for dim in ("band", "ty", "tx")]
        found = torch.full((len(index), *shape), torch.nan)
        for position, tile in enumerate(index):
            try:
                found[position] = read_tiles(tiles, [int(tile)])[0]
            except StoreError as error:
                reasons[int(tile)] = f"cannot be read: {error.__cause__}"
    for tile, window in zip(index, found, strict=True):
        if all(bool(band.isnan().all()) for band in window):  # ends with the first band that has a pixel
            reasons.setdefault(int(tile), _LOST)
    return found, reasons


def stream_tiles(
    tiles: xr.Dataset, index: npt.NDArray[np.int64], batch_tiles: int
) -> Iterator[tuple[npt.NDArray[np.int64], Float[Tensor, "tile band ty tx"]]]:
    """Yield tiles batch by batch with their indices; three batches are read ahead, so memory stays the same."""
    parts = [index[start : start + batch_tiles] for start in range(0, len(index), batch_tiles)]
    with ThreadPoolExecutor(_READ_AHEAD) as readers:
        ahead = deque(readers.submit(read_tiles, tiles, part) for part in parts[:_READ_AHEAD])
        for number, part in enumerate(parts, start=_READ_AHEAD):
            found = ahead.popleft().result()
            if number < len(parts):
                ahead.append(readers.submit(read_tiles, tiles, parts[number]))
            yield part, found


def group_means(windows: Float[Tensor, "tile band ty tx"], spec: ModelSpec) -> Float[np.ndarray, "tile group"]:
    """Return the mean of the bands' means of each tile and wavelength group, float64; NaN where there is no value."""
    # Band by band, so that no window lies in memory twice.
    bands = np.array([[band.double().nanmean().item() for band in window] for window in windows])
    group = spec.group_of_band()
    of_group = [bands[:, group == number] for number in range(len(spec.groups))]
    with np.errstate(invalid="ignore"):
        means = [np.nansum(own, axis=1) / np.isfinite(own).sum(axis=1) for own in of_group]
    return np.stack(means, axis=1)


def of_fold(tiles: xr.Dataset, fold: Fold, *, labelled: bool = True) -> npt.NDArray[np.int64]:
    """Return the indices of the tiles in a fold, by default only those with a label."""
    wanted = tiles["fold"].to_numpy().astype(object).astype(str) == fold
    if labelled:
        wanted &= tiles["label"].to_numpy() >= 0
    return np.flatnonzero(wanted)


def groups_of(tiles: xr.Dataset) -> WavelengthGroups:
    """Return the campaign's wavelength groups that hold at least one good band of its sensor."""
    ranges = {name: (float(low), float(high)) for name, (low, high) in tiles.attrs["groups"].items()}
    return parse_groups(ranges).seen(tiles["wavelength"].to_numpy(), tiles["good_band"].to_numpy())


def front_end_of(tiles: xr.Dataset, *, patch_px: int) -> FrontEnd:
    """Build the front end for a campaign's own bands, groups and statistics.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    patch_px
        Side of the backbone's patch, pixels.
    """
    group_of_band = groups_of(tiles).of_bands(tiles["wavelength"].to_numpy(), tiles["good_band"].to_numpy())
    return FrontEnd(group_of_band, band_scale(tiles), input_px=int(tiles.attrs["input_px"]), patch_px=patch_px)


def band_scale(tiles: xr.Dataset) -> BandScale:
    """Return what the training pixels of an open ``tiles.zarr`` are like."""
    return BandScale(*(torch.from_numpy(tiles[f"band_{name}"].to_numpy()).float() for name in BandScale._fields))
