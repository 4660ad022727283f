import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from focus_core.aggregation.bands import per_nm, spread_over_bands
from focus_core.errors import StoreError


def of_group(values, widths=None):
    hi = np.cumsum(np.ones(len(values)) if widths is None else widths)
    lo = np.concatenate([[0.0], hi[:-1]])
    return xr.DataArray(
        values, dims="group",
        coords={"group": [f"g{n}" for n in range(len(values))],
                "group_lo_nm": ("group", lo), "group_hi_nm": ("group", hi)},
    )  # fmt: skip


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
    extra=st.lists(st.sampled_from([-1, 0, 1, 2]), max_size=20),
)
def test_the_bands_of_a_group_add_up_to_the_group_and_others_are_nan(values, extra):
    index = np.array([0, 1, 2, *extra])
    bands = spread_over_bands(of_group(np.array(values)), xr.DataArray(index, dims="band"))
    assert np.array_equal(np.isnan(bands), index < 0)
    for group, value in enumerate(values):
        assert float(bands[index == group].sum()) == pytest.approx(value, rel=1e-12, abs=1e-9)


def test_per_nm_divides_by_the_width_of_the_group_not_by_its_bands():
    found = per_nm(of_group(np.array([6.0, -4.0]), [100.0, 50.0]), xr.DataArray([0, 1, 1, -1], dims="band"))
    np.testing.assert_allclose(found, [0.06, -0.08, -0.08, np.nan])


def test_a_group_without_a_band_is_refused_by_name():
    with pytest.raises(StoreError, match=r"\['g1'\] hold no good band"):
        spread_over_bands(of_group(np.array([1.0, 2.0])), xr.DataArray([0, 0, -1], dims="band"))
