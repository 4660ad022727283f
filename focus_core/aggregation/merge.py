"""Where one flight stands beside the others of ``importance.zarr``: which campaigns, plots and indices, in what order.

Knows the store's coordinates; does not know where the numbers come from, nor how they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from focus_core.errors import StoreError

ABSENT: dict[str, Any] = {
    "present": False, "label": -1, "fold": "", "block": "", "geometry": "", "index_bands": "", "treatment_plots": 0,
}  # fmt: skip
"""What a variable holds where a campaign does not know the plot or index; the others are NaN."""
_TOLERANCE_NM = 1e-3


def season_frame(existing: xr.Dataset | None, new: xr.Dataset) -> xr.Dataset:
    """Return the coordinates of the store with ``new`` in place of any earlier version of the same campaign.

    Plots are the union over campaigns, those of a later arrival after the others, so that these keep their places;
    a plot that no campaign knows any more is left out. Campaigns are in order of date. A band may be bad in one flight
    only: ``group_of_band`` is then its group.

    Parameters
    ----------
    existing
        The store so far; ``None`` where there is none.
    new
        The part of one campaign.

    Raises
    ------
    StoreError
        If bands, classes, reference class, wavelength groups or CRS differ; both are named.
    """
    parts = [new] if existing is None else [*_others(existing, new), new]
    if len(parts) > 1:
        _refuse_differences(*parts)
    first = parts[0]
    dates = xr.concat(
        [part["date"].reset_coords(drop=True) for part in parts], "campaign", coords="minimal", compat="override"
    )
    order = np.lexsort([dates["campaign"].to_numpy(), dates.to_numpy()])
    of_band = np.max([part["group_of_band"].to_numpy() for part in parts], axis=0)
    fixed = [name for name in first.coords if not {"campaign", "plot", "index"} & {*first[name].dims}]
    plots = [*(part["plot"].to_numpy() for part in parts[:-1]), np.sort(new["plot"].to_numpy())]
    indices = [part["index"].to_numpy() for part in parts if "index" in part.coords]
    return xr.Dataset(
        coords={
            **{name: first[name].variable for name in fixed},
            "group_of_band": ("band", of_band, new["group_of_band"].attrs),
            "campaign": dates["campaign"].variable[order],
            "date": dates.variable[order],
            "plot": _union(plots),
            **({"index": _union(indices)} if indices else {}),
        }
    ).compute()


def placed(part: xr.Dataset, frame: xr.Dataset) -> xr.Dataset:
    """Return a campaign's variables on the plots and indices of the store, without the store's coordinates."""
    axes = {name: frame[name] for name in ("plot", "index") if name in part.dims}
    fill = {name: ABSENT.get(str(name), np.nan) for name in part.data_vars}
    return part.reset_coords(drop=True).reindex(axes, fill_value=fill)


def _others(existing: xr.Dataset, new: xr.Dataset) -> list[xr.Dataset]:
    """Return the store's coordinates without the campaign and the plots that it alone knew; none if nothing is left."""
    names = existing["campaign"].to_numpy()
    other = names != str(new["campaign"].item())
    if not other.any():
        return []
    coords = existing.drop_vars(list(existing.data_vars)).isel(campaign=other)
    if not other.all() and not set(existing["plot"].to_numpy()) <= set(new["plot"].to_numpy()):
        known = (existing["geometry"].isel(campaign=other) != "").any("campaign")
        coords = coords.isel(plot=known.to_numpy())
    return [coords]


def _union(names: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return every name once, in the order in which they first come."""
    return np.array(list(dict.fromkeys(str(name) for own in names for name in own)), dtype=np.dtypes.StringDType())


def _refuse_differences(others: xr.Dataset, new: xr.Dataset) -> None:
    there = [str(name) for name in others["campaign"].to_numpy()]
    here = str(new["campaign"].item())
    for what, before, now in _differences(others, new):
        raise StoreError(
            f"the flights {there} and '{here}' cannot share one importance.zarr, their {what} differ: {before} in the "
            f"store, {now} in '{here}'; explain both with one model, or give '{here}' another store"
        )


def _differences(others: xr.Dataset, new: xr.Dataset) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    before, now = (dataset["wavelength"].to_numpy() for dataset in (others, new))
    if before.shape != now.shape or not np.allclose(before, now, rtol=0.0, atol=_TOLERANCE_NM):
        found.append(("wavelengths", _span(before), _span(now)))
    for what, text in (("classes", _classes), ("wavelength groups", _groups), ("CRS", _crs)):
        if text(others) != text(new):
            found.append((what, text(others), text(new)))
    if found:
        return found
    bands = [dataset["group_of_band"].to_numpy() for dataset in (others, new)]
    if ((bands[0] != bands[1]) & (bands[0] >= 0) & (bands[1] >= 0)).any():
        found.append(("bands' groups", str(bands[0].tolist()), str(bands[1].tolist())))
    return found


def _span(nm: npt.NDArray[np.float64]) -> str:
    return f"{len(nm)} bands {nm[0]:.2f}-{nm[-1]:.2f} nm"


def _classes(dataset: xr.Dataset) -> str:
    names = [str(name) for name in dataset["cls"].to_numpy()]
    return f"{names} against '{dataset.attrs['reference_class']}'"


def _groups(dataset: xr.Dataset) -> str:
    columns = (dataset[name].to_numpy() for name in ("group", "group_lo_nm", "group_hi_nm"))
    return ", ".join(f"{name} {lo:g}-{hi:g} nm" for name, lo, hi in zip(*columns, strict=True))


def _crs(dataset: xr.Dataset) -> str:
    return str(dataset["spatial_ref"].attrs.get("crs_wkt") or "none")
