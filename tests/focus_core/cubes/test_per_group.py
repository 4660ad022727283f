import numpy as np
import xarray as xr

from focus_core.cubes.per_group import per_group


def test_a_group_has_the_number_of_its_bands_whatever_the_order_of_dims_and_none_where_all_are_bad() -> None:
    wanted = np.arange(2 * 3 * 4, dtype=np.float64).reshape(2, 3, 4)
    of_band = np.array([-1, 0, 0, 1, 2, 2, 3, -1])
    bands = np.where(of_band >= 0, wanted[..., of_band], np.nan)
    bands[0, :, 1] = np.nan  # one of a group's two bands is bad in the first flight
    bands[0, :, 3] = np.nan  # and another group's only one
    wanted[0, :, 1] = np.nan
    store = xr.Dataset(
        {"importance_per_nm": (("campaign", "cls", "band"), bands)},
        coords={"group_of_band": ("band", of_band), "group": list("abcd")},
    )
    found = per_group(store.transpose("band", "cls", "campaign", ...))
    assert found.dims[-1] == "group"
    np.testing.assert_array_equal(found.transpose("campaign", "cls", "group"), wanted)
