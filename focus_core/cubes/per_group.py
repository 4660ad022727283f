"""``importance.zarr`` by wavelength group: the model sees a group whole, and its bands repeat one number."""

from __future__ import annotations

import numpy as np
import xarray as xr


def per_group(importance: xr.Dataset) -> xr.DataArray:
    """Return importance per nm with ``group`` as the last dim in place of ``band``, float64, logit units.

    A band that is bad in a flight holds none there; a group without a good band is NaN.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says, or flights and plots of it.
    """
    bands = importance["importance_per_nm"].transpose(..., "band")
    values, of_band = bands.to_numpy(), importance["group_of_band"].to_numpy()
    parts = [np.fmax.reduce(values[..., of_band == group], axis=-1) for group in range(importance.sizes["group"])]
    return xr.DataArray(np.stack(parts, axis=-1), dims=(*bands.dims[:-1], "group"))
