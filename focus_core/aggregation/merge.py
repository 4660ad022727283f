"""Put one flight beside the others of ``importance.zarr``; the others' numbers are carried over bit by bit.

Knows the store's coordinates; does not know where the numbers come from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from focus_core.errors import StoreError

_ABSENT: dict[str, Any] = {"present": False, "label": -1, "fold": "", "block": "", "geometry": "", "index_bands": ""}
_TOLERANCE_NM = 1e-3


def merge_campaign(existing: xr.Dataset | None, new: xr.Dataset) -> xr.Dataset:
    """Return the store with ``new`` in place of any earlier version of the same campaign.

    Plots are the union over campaigns, in order of their ids; a plot that a campaign does not know is not ``present``
    and NaN there. Campaigns are in order of date. A band may be bad in one flight only: ``group_of_band`` is then its
    group, and its values are NaN in that flight.

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
    if existing is None:
        return _sorted(new)
    added = str(new["campaign"].item())
    others = existing.isel(campaign=existing["campaign"].to_numpy() != added)
    if others.sizes["campaign"] == 0:
        return _sorted(new)
    _refuse_differences(others, new)
    known = (others["geometry"] != "").any("campaign").compute()
    others = others.isel(plot=known.to_numpy())
    ids = sorted({str(plot) for part in (others, new) for plot in part["plot"].to_numpy()})
    index = np.array(ids, dtype=np.dtypes.StringDType())
    of_band = np.maximum(others["group_of_band"].to_numpy(), new["group_of_band"].to_numpy())
    parts = []
    same = new.assign_coords({name: others[name] for name in ("wavelength", "spatial_ref")})
    axes = {"plot": index, **_indices(others, same)}
    for part in (others.chunk(), same.chunk()):  # numpy texts beside lazy ones cannot be joined
        fill = {name: _ABSENT.get(str(name), np.nan) for name in part.data_vars}
        whole = part.assign_coords(group_of_band=("band", of_band)).reindex(axes, fill_value=fill)
        if "index" in axes and "index_bands" not in whole:  # joining fills numbers with NaN, but not texts
            blank = np.full((part.sizes["campaign"], len(axes["index"])), "", dtype=np.dtypes.StringDType())
            whole = whole.assign(index_bands=(("campaign", "index"), blank)).chunk()
        parts.append(whole)
    merged = xr.concat(
        parts, dim="campaign", data_vars="minimal", coords="minimal", compat="override", join="exact",
        combine_attrs="override",
    )  # fmt: skip
    merged["group_of_band"].attrs = dict(new["group_of_band"].attrs)
    return _sorted(merged)


def _indices(others: xr.Dataset, new: xr.Dataset) -> dict[str, npt.NDArray[Any]]:
    """Vegetation indices of both, in the order of the store; none where neither has any."""
    names = [str(name) for part in (others, new) if "index" in part.coords for name in part["index"].to_numpy()]
    return {"index": np.array(list(dict.fromkeys(names)), dtype=np.dtypes.StringDType())} if names else {}


def _sorted(dataset: xr.Dataset) -> xr.Dataset:
    order = np.lexsort([dataset["campaign"].to_numpy(), dataset["date"].to_numpy()])
    return dataset.isel(campaign=order, plot=np.argsort(dataset["plot"].to_numpy()))


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
