"""From tiles.zarr to torch: the only bridge between xarray and the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from focus_core.config import Fold, WavelengthGroups, parse_groups
from focus_core.model import FrontEnd


def read_tiles(tiles: xr.Dataset, index: Sequence[int] | npt.NDArray[np.int64]) -> Float[Tensor, "tile band ty tx"]:
    """Read some tiles into memory, float32, NaN outside their plots.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    index
        Which tiles, in the order wanted.
    """
    wanted = np.asarray(index, dtype=np.int64)
    # Neighbours are asked for as a span: their shard is then read at once, not tile by tile.
    span = len(wanted) > 0 and bool((np.diff(wanted) == 1).all())
    values = tiles["reflectance"].isel(tile=slice(wanted[0], wanted[-1] + 1) if span else wanted).to_numpy()
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def stream_tiles(
    tiles: xr.Dataset, index: npt.NDArray[np.int64], batch_tiles: int
) -> Iterator[tuple[npt.NDArray[np.int64], Float[Tensor, "tile band ty tx"]]]:
    """Yield tiles batch by batch with their indices, so that memory does not grow with their number."""
    for start in range(0, len(index), batch_tiles):
        part = index[start : start + batch_tiles]
        yield part, read_tiles(tiles, part)


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
    mean, std = (torch.from_numpy(tiles[name].to_numpy()).float() for name in ("band_mean", "band_std"))
    return FrontEnd(group_of_band, mean, std, input_px=int(tiles.attrs["input_px"]), patch_px=patch_px)
