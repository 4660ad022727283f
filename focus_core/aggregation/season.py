"""``importance.zarr`` on disk: each campaign in files of its own, so that adding a flight costs what that flight costs.

Knows how the store is laid out; does not know where the numbers come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from focus_core.aggregation.merge import ABSENT, placed, season_frame
from focus_core.cubes import linked
from focus_core.cubes.schema import IMPORTANCE
from focus_core.cubes.store import write_store

_DIM = "campaign"
_PLOTS = (64, 512)
"""Fewest and most plots in a chunk; in between, those of the first flight."""
_INDICES = 64
"""Vegetation indices in a chunk."""
_DATE = {"units": "days since 1970-01-01", "dtype": "int64"}


def write_season(folder: Path, new: xr.Dataset, *, before: Path, existing: xr.Dataset | None) -> xr.Dataset:
    """Write the store with a flight in it, in place of an earlier version of that flight.

    The other flights' files are taken over as they are, as long as their plots and indices keep their places; else
    their numbers are written again, bit by bit. A plot that a flight does not know is not ``present`` and NaN there.

    Parameters
    ----------
    folder
        Where to, empty.
    new
        One campaign as the schema ``IMPORTANCE`` says, in memory, with the attributes that the store shall have.
    before
        Where the store so far lies.
    existing
        The store so far, opened; ``None`` where there is none.

    Returns
    -------
    xarray.Dataset
        The flight on the plots of the store.

    Raises
    ------
    StoreError
        If the flight does not fit the others, see `season_frame`.
    """
    frame, own = season_frame(existing, new), str(new[_DIM].item())
    layout = _layout(frame, {**({} if existing is None else existing.data_vars), **new.data_vars})
    encoding = _encoding(layout, existing)
    write_store(layout.assign_attrs(new.attrs), folder, IMPORTANCE, encoding=encoding, compute=False)
    files, digests = ({}, {}) if existing is None else _kept(before, folder, existing, frame)
    flight = placed(new, frame)
    for position, name in enumerate(_names(frame)):
        if name == own or existing is None:
            _write_part(flight, folder, position)
        elif name in files:
            linked.take_over(files[name], folder, position)
        else:
            _write_part(placed(existing.sel({_DIM: [name]}).compute(), frame), folder, position)
    written = linked.part_files(folder, _DIM)
    found = [
        digests[name] if name != own and name in digests else linked.part_digest(written[position])
        for position, name in enumerate(_names(frame))
    ]
    zarr.open_group(folder, mode="r+").attrs[linked.ATTRIBUTE] = {"dim": _DIM, "digests": found}
    with warnings.catch_warnings():
        # Readers of other languages ignore it; xarray.open_zarr without arguments warns where it is missing.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(folder)
    return flight


def _names(dataset: xr.Dataset) -> list[str]:
    return [str(name) for name in dataset[_DIM].to_numpy()]


def _layout(frame: xr.Dataset, variables: Mapping[Any, xr.DataArray]) -> xr.Dataset:
    """Return the whole store without its numbers."""
    blank = {
        name: da.zeros([frame.sizes[dim] for dim in values.dims], dtype=values.dtype, chunks=-1)
        for name, values in variables.items()
    }
    return frame.assign({name: (variables[name].dims, blank[name], variables[name].attrs) for name in variables})


def _encoding(layout: xr.Dataset, existing: xr.Dataset | None) -> dict[str, dict[str, Any]]:
    plots = min(max(layout.sizes["plot"], _PLOTS[0]), _PLOTS[1])
    if existing is not None and linked.ATTRIBUTE in existing.attrs:
        plots = existing["present"].encoding["chunks"][1]
    sizes: dict[Any, int] = {**layout.sizes, _DIM: 1, "plot": plots, "index": _INDICES}
    encoding: dict[str, dict[str, Any]] = {
        str(name): {
            "chunks": tuple(sizes[dim] for dim in values.dims),
            "chunk_key_encoding": linked.CHUNK_KEYS,
            "fill_value": ABSENT.get(str(name), np.nan),
        }
        for name, values in layout.data_vars.items()
    }
    return {**encoding, "date": _DATE}


def _kept(
    before: Path, folder: Path, existing: xr.Dataset, frame: xr.Dataset
) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """Return the files and digests of the flights so far, by name; none where they would lie elsewhere in a chunk."""
    recorded = existing.attrs.get(linked.ATTRIBUTE)
    same_places = all(
        existing[dim].to_numpy().tolist() == frame[dim].to_numpy()[: existing.sizes[dim]].tolist()
        for dim in ("plot", "index")
        if dim in existing.dims
    )
    old, now = linked.layouts(before, _DIM), linked.layouts(folder, _DIM)
    if recorded is None or not same_places or any(now.get(name) != stored for name, stored in old.items()):
        return {}, {}
    files = linked.part_files(before, _DIM)
    names = _names(existing)
    return {name: files[position] for position, name in enumerate(names)}, dict(
        zip(names, recorded["digests"], strict=True)
    )


def _write_part(part: xr.Dataset, folder: Path, position: int) -> None:
    bare = part.drop_vars(list(part.coords)).drop_encoding()
    bare.to_zarr(folder, region={_DIM: slice(position, position + 1)}, consolidated=False)
