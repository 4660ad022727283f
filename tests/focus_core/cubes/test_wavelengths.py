from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_core.config import LinearWavelengths
from focus_core.cubes.readers import OpenedCube
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError


def cube(
    values: list[float] | None, units: str | None = None, bands: int | None = None, **fields: object
) -> OpenedCube:
    count = bands or len(values or [])
    return OpenedCube(
        path=Path("flight.hdr"),
        files=(Path("flight.hdr"),),
        data=da.zeros((count, 2, 2), dtype=np.int16),
        wavelength=None if values is None else np.array(values, dtype=np.float64),
        wavelength_units=units,
        wavelength_source="'wavelength' in the header",
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("units", ["nm", "Nanometers", "NANOMETRES", None, "Unknown", ""])
def test_nanometres(units: str | None) -> None:
    found = decide_wavelengths(cube([400, 500, 600], units), None)
    assert found.nm.tolist() == [400, 500, 600]
    assert ("by magnitude" in found.decision) == (units in {None, "Unknown", ""})


@pytest.mark.parametrize("units", ["um", "µm", "Micrometers", "microns", None, "unknown"])
def test_micrometres(units: str | None) -> None:
    found = decide_wavelengths(cube([0.4, 0.5, 0.6], units, fwhm=np.array([0.01, 0.02, 0.0])), None)
    np.testing.assert_allclose(found.nm, [400, 500, 600])
    np.testing.assert_allclose(found.fwhm_nm, [10, 20, np.nan])
    assert ("taken as µm by magnitude" in found.decision) == (units in {None, "unknown"})


@pytest.mark.parametrize(
    ("values", "units", "fwhm", "found"),
    [([0.4, 0.5, 0.6], "um", 5.0, "5000 nm"), ([400, 405, 410], "nm", 0.006, "0.006 nm")],
)
def test_widths_in_another_unit_are_refused(values: list[float], units: str, fwhm: float, found: str) -> None:
    with pytest.raises(CubeError, match=rf"'fwhm' of about {found} does not fit bands .* nm apart; is it in another"):
        decide_wavelengths(cube(values, units, fwhm=np.full(3, fwhm)), None)


def test_metres() -> None:
    np.testing.assert_allclose(decide_wavelengths(cube([4e-7, 5e-7, 6e-7], "m"), None).nm, [400, 500, 600])


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        (
            [400, 500, 600],
            "Micrometers",
            "400 to 600 declared as Micrometers lie outside 200 to 20000 nm; correct the unit",
        ),
        ([0.4, 0.5, 0.6], "nm", "0.4 to 0.6 declared as nm lie outside"),
        ([0.0, 500, 600], "nm", "0 to 600 declared as nm lie outside"),
        ([400, 500, 600], "GHz", "unit 'GHz' is not known"),
        ([50, 60, 70], None, "without a unit are neither nm nor µm"),
        ([400, np.nan, 600], None, "without a unit are neither"),
        ([400, 500, 500], "nm", r"wavelengths \[500.0\] nm stand more than once"),
        ([400, 500], "nm", r"2 band\(s\); a hyperspectral cube has at least 3"),
    ],
)
def test_wrong_numbers_are_refused(values: list[float], units: str | None, message: str) -> None:
    with pytest.raises(CubeError, match=message):
        decide_wavelengths(cube(values, units), None)


def test_none_at_all_is_refused_with_the_remedy() -> None:
    with pytest.raises(CubeError, match="names no wavelengths; give 'wavelengths' of its 5 bands in nm"):
        decide_wavelengths(cube(None, bands=5), None)


def test_the_campaign_may_name_what_the_file_does_not() -> None:
    linear = decide_wavelengths(cube(None, bands=3), LinearWavelengths(first_nm=400, last_nm=500))
    assert linear.nm.tolist() == [400, 450, 500]
    assert np.isnan(linear.fwhm_nm).all()
    assert decide_wavelengths(cube(None, bands=3), [400, 450, 900]).nm.tolist() == [400, 450, 900]
    with pytest.raises(CubeError, match="3 bands, but the campaign file names 2"):
        decide_wavelengths(cube(None, bands=3), [400, 450])


def test_the_campaign_may_repeat_the_file_but_not_contradict_it() -> None:
    agreed = decide_wavelengths(cube([400.2, 500.3, 600.4], "nm"), [400, 500, 600])
    assert agreed.nm.tolist() == [400.2, 500.3, 600.4]
    with pytest.raises(CubeError, match="band 3 lies at 600 nm, but the campaign file says 700 nm"):
        decide_wavelengths(cube([400, 500, 600], "nm"), [400, 500, 700])


@given(st.lists(st.integers(2000, 25_000), min_size=3, max_size=40, unique=True))
def test_sorting_keeps_the_permutation(tenths: list[int]) -> None:
    values = [tenth / 10 for tenth in tenths]
    found = decide_wavelengths(cube(values, "nm"), None)
    assert (np.diff(found.nm) > 0).all()
    np.testing.assert_array_equal(np.array(values)[found.order], found.nm)
    assert found.sorted_in_file == (values == sorted(values))
