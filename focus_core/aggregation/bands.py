"""Spread what is known per wavelength group over the bands of the sensor.

Knows which band lies in which group; does not know plots or flights.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from focus_core.errors import StoreError


def spread_over_bands(values: xr.DataArray, group_of_band: xr.DataArray) -> xr.DataArray:
    """Divide each group's value evenly over its bands; NaN in bands outside all groups.

    Even, because the model sees a group as a whole: nothing is known below its width.

    Parameters
    ----------
    values
        ``(…, group)``.
    group_of_band
        ``(band,)``, -1 outside all groups and for bad bands.

    Returns
    -------
    xarray.DataArray
        ``(…, band)``; summed over the bands of a group it gives ``values`` again.

    Raises
    ------
    StoreError
        If a group has no band, so that its share would be lost.
    """
    index = group_of_band.to_numpy()
    count = np.bincount(index[index >= 0], minlength=values.sizes["group"])
    if (count == 0).any():
        names = [str(name) for name in values["group"].to_numpy()[count == 0]]
        raise StoreError(f"the wavelength groups {names} hold no good band, so their importance has no place; run "
                         "tile and explain again with groups that the sensor sees")  # fmt: skip
    share = values / xr.DataArray(count, dims="group")
    return _at_bands(share, index)


def sum_by_group(importance: xr.Dataset) -> xr.DataArray:
    """Return the importance of each wavelength group: `spread_over_bands` undone.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says, or a part of it.

    Returns
    -------
    xarray.DataArray
        ``(…, group)``, float64, logit units; 0 where a plot is not present.
    """
    index = importance["group_of_band"].to_numpy()
    member = (index[:, None] == np.arange(importance.sizes["group"])).astype(np.float64)
    return importance["importance"].fillna(0.0).dot(xr.DataArray(member, dims=("band", "group")))


def per_nm(values: xr.DataArray, group_of_band: xr.DataArray) -> xr.DataArray:
    """Return each group's value over its width in nm, at the bands of the group; NaN outside all groups.

    Parameters
    ----------
    values
        ``(…, group)`` with the coordinates ``group_lo_nm, group_hi_nm``.
    group_of_band
        ``(band,)``, -1 outside all groups and for bad bands.
    """
    width = values["group_hi_nm"] - values["group_lo_nm"]
    return _at_bands(values / width, group_of_band.to_numpy())


def _at_bands(values: xr.DataArray, index: np.ndarray) -> xr.DataArray:
    bare = values.drop_vars(["group", "group_lo_nm", "group_hi_nm"], errors="ignore")
    bands = bare.isel(group=xr.DataArray(np.maximum(index, 0), dims="band"))
    return bands.where(xr.DataArray(index >= 0, dims="band"))
