"""Spectra on other bands, with answers that were planted."""

import numpy as np
import pytest
import spectral
from hypothesis import given
from hypothesis import strategies as st

from focus_core.config import parse_groups
from focus_core.cubes.resample import Resampling, nearest_spacing, resampling
from focus_core.errors import CubeError

NM = np.arange(400.0, 1001.0, 4.0)
FWHM = np.full(len(NM), 5.0)
GOOD = np.ones(len(NM), dtype=bool)


def to(target: np.ndarray, fwhm: float, *, nm: np.ndarray = NM, width: np.ndarray = FWHM) -> Resampling:
    return resampling(nm, width, np.ones(len(nm), bool), target, np.full(len(target), fwhm), name="flight.hdr")


def full_width(nm: np.ndarray, values: np.ndarray) -> float:
    """Width at half of the largest number, interpolated."""
    half, peak = values.max() / 2, int(values.argmax())
    left = np.interp(half, values[: peak + 1], nm[: peak + 1])
    right = np.interp(-half, -values[peak:], nm[peak:])
    return float(right - left)


@given(
    st.lists(st.floats(1.0, 12.0), min_size=5, max_size=60),
    st.floats(1.0, 40.0),
    st.floats(-1.0, 1.0),
    st.floats(-0.01, 0.01),
)
def test_constant_and_linear_spectra_are_kept(steps: list[float], fwhm: float, level: float, slope: float) -> None:
    nm = 400.0 + np.cumsum(steps)
    low, high = nm[0] + fwhm / 2, nm[-1] - fwhm / 2
    target = np.linspace(low, high, 7) if high > low else np.array([])
    found = to(target, fwhm, nm=nm, width=np.full(len(nm), max(steps)))
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert (found.weights >= 0.0).all()
    np.testing.assert_allclose(found.weights @ (level + slope * nm), level + slope * target, atol=1e-9)


@pytest.mark.parametrize("fwhm", [8.0, 10.0, 20.0, 40.0])
def test_a_narrow_line_spreads_to_the_target_s_width(fwhm: float) -> None:
    """The line as the source saw it has the source's width; on the target it must have the target's.

    Between bands 4 nm apart a line is seen sharper or blunter, by where it lies among them: right on average.
    """
    target = np.arange(600.0, 800.0, 0.5)
    found = to(target, fwhm)
    lines = np.exp(-4 * np.log(2) * (NM - np.arange(698.0, 702.0, 0.5)[:, None]) ** 2 / FWHM**2)
    widths = np.array([full_width(target, found.weights @ line) for line in lines])
    assert widths.mean() == pytest.approx(fwhm, rel=0.03)
    np.testing.assert_allclose(widths, fwhm, rtol=0.1)
    np.testing.assert_allclose(found.fwhm_nm, fwhm, rtol=0.1)


def test_a_target_narrower_than_the_source_keeps_the_source_s_width() -> None:
    target = np.arange(500.0, 900.0, 4.0)
    found = to(target, 2.0)
    np.testing.assert_array_equal(found.weights[:, 25:125], np.eye(100))
    np.testing.assert_allclose(found.fwhm_nm, 5.0)


def test_the_same_bands_come_back() -> None:
    found = resampling(NM, FWHM, GOOD, NM, FWHM, name="flight.hdr")
    np.testing.assert_allclose(found.weights, np.eye(len(NM)), atol=1e-12)
    np.testing.assert_allclose(found.fwhm_nm, FWHM)


def test_agrees_with_spy_on_a_smooth_spectrum() -> None:
    """SPy weighs by how much two bands overlap, which smooths more; on smooth spectra both must agree."""
    target, width = np.linspace(450.0, 950.0, 40), np.full(40, 20.0)
    spectrum = 0.3 + 0.2 * np.sin(NM / 80.0)
    by_spy = spectral.BandResampler(NM, target, FWHM, width)(spectrum)
    np.testing.assert_allclose(to(target, 20.0).weights @ spectrum, by_spy, atol=2e-3)


@pytest.mark.parametrize(("target", "fwhm"), [([390.0], 5.0), ([1003.0], 2.0), ([405.0], 30.0), ([500.0, 999.0], 12.0)])
def test_extrapolation_is_refused(target: list[float], fwhm: float) -> None:
    with pytest.raises(CubeError, match=r"flight\.hdr: measures 397\.5 to 1002\.5 nm, .* reach beyond; leave them out"):
        to(np.array(target), fwhm)


def test_a_gap_of_the_source_is_not_bridged() -> None:
    nm = NM[(NM < 700) | (NM > 760)]
    with pytest.raises(CubeError, match=r"has no bands near \[700\.0, 720\.0, 740\.0, 760\.0\] nm"):
        to(np.arange(640.0, 800.0, 20.0), 10.0, nm=nm, width=np.full(len(nm), 5.0))


def test_bad_bands_count_for_nothing() -> None:
    good = GOOD & ~((NM >= 700) & (NM <= 760))
    target = np.arange(600.0, 900.0, 20.0)
    found = resampling(NM, FWHM, good, target, np.full(len(target), 10.0), name="flight.hdr")
    assert target[np.isnan(found.weights).any(axis=1)].tolist() == [700, 720, 740, 760]
    assert (np.nan_to_num(found.weights)[:, ~good] == 0.0).all()


def test_missing_values_stay_where_they_count() -> None:
    block = np.tile((NM / 1000).astype(np.float32)[:, None, None], (1, 2, 2))
    block[50, 0, 1] = np.nan
    target = np.arange(500.0, 900.0, 20.0)
    found = to(target, 10.0).apply(block)
    np.testing.assert_allclose(found[:, 1, 1], target / 1000, rtol=1e-5)
    assert target[np.isnan(found[:, 0, 1])].tolist() == [600]
    assert np.isfinite(found[:, 0, 0]).all()


def test_leakage_is_the_weight_of_another_group_s_bands() -> None:
    groups = parse_groups({"low": (400.0, 600.0), "high": (600.0, 800.0)})
    target = np.array([500.0, 598.0, 602.0, 700.0, 900.0])
    found = to(target, 20.0)
    every = np.ones(len(target), bool)
    leaked = found.leaked(groups.of_bands(NM, GOOD), groups.of_bands(target, every))
    low, high = NM < 600, (NM >= 600) & (NM < 800)
    expected = [0.0, found.weights[1, high].sum(), found.weights[2, low].sum(), 0.0, 0.0]
    np.testing.assert_allclose(leaked, expected)
    assert 0.3 < leaked[1] < 0.5
    assert leaked[2] == pytest.approx(1 - found.weights[2, high].sum())


def test_spacing_is_that_of_the_nearer_neighbour() -> None:
    assert nearest_spacing(np.array([400.0, 405.0, 415.0, 480.0])).tolist() == [5, 5, 10, 65]
