import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_core.config import OUTSIDE, WavelengthGroup, WavelengthGroups, parse_groups
from focus_core.errors import SettingsError

NM = np.linspace(380.0, 2520.0, 300)
GOOD = np.ones(300, dtype=bool)


@given(st.integers(1, 500))
def test_uniform_groups_tile_the_range(width: int) -> None:
    groups = parse_groups(f"uniform:{width}")
    assert groups.lo_nm[0] == 400.0
    np.testing.assert_allclose(groups.hi_nm[:-1], groups.lo_nm[1:])
    assert groups.hi_nm[-1] >= 2500.0
    index = groups.of_bands(NM, GOOD)
    inside = (NM >= 400.0) & (groups.hi_nm[-1] > NM)
    assert ((index != OUTSIDE) == inside).all()
    assert (groups.lo_nm[index[inside]] <= NM[inside]).all()
    assert (NM[inside] < groups.hi_nm[index[inside]]).all()


def test_agronomic_groups_leave_out_water_vapour() -> None:
    groups = parse_groups("agronomic")
    index = groups.of_bands(np.array([399.9, 400.0, 740.0, 1400.0, 1850.0, 2499.0, 2500.0]), np.ones(7, bool))
    assert [groups.names[i] if i >= 0 else "" for i in index] == ["", "blue", "red_edge", "", "", "swir_2", ""]


def test_a_bad_band_is_in_no_group() -> None:
    good = GOOD.copy()
    good[100] = False
    index = parse_groups("uniform:100").of_bands(NM, good)
    assert index[100] == OUTSIDE
    assert index[101] != OUTSIDE


def test_groups_that_the_sensor_does_not_see_are_left_out() -> None:
    nm = np.array([410.0, 450.0, 550.0, 700.0])
    groups = parse_groups("agronomic")
    assert groups.seen(nm, np.ones(4, bool)).names == ("blue", "green", "red_edge")
    assert groups.seen(nm, np.ones(4, bool), bands=2).names == ("blue",)
    with pytest.raises(SettingsError, match="no wavelength group holds 3 good band"):
        groups.seen(nm, np.ones(4, bool), bands=3)


def test_a_mapping_is_sorted_by_wavelength() -> None:
    assert parse_groups({"b": (700.0, 800.0), "a": (500.0, 600.0)}).names == ("a", "b")


@pytest.mark.parametrize(
    "groups",
    [
        (),
        (WavelengthGroup(name="a", lo_nm=1, hi_nm=3), WavelengthGroup(name="a", lo_nm=4, hi_nm=5)),
        (WavelengthGroup(name="a", lo_nm=1, hi_nm=3), WavelengthGroup(name="b", lo_nm=2, hi_nm=5)),
    ],
)
def test_impossible_groups_are_refused(groups: tuple[WavelengthGroup, ...]) -> None:
    with pytest.raises(SettingsError, match=r"no wavelength group|repeat a name|overlap"):
        WavelengthGroups(groups)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'a' runs from 500\.0 to 400\.0 nm"):
        parse_groups({"a": (500.0, 400.0)})
