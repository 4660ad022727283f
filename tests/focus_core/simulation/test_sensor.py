from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_core.simulation.canopy import NM
from focus_core.simulation.flight import within
from focus_core.simulation.sensor import (
    PANEL_REFLECTANCE,
    WATER_WINDOWS_NM,
    Sensor,
    calibrate,
    draw_strip,
    drift,
    transmittance,
)

WAVELENGTH = np.linspace(405.0, 2495.0, 105)


def sensor(noise: float = 1.0) -> Sensor:
    return Sensor(WAVELENGTH, 10.0, 31.0, noise)


NOISELESS = draw_strip(sensor(noise=0.0), 6, np.random.default_rng(0))


def in_windows() -> np.ndarray:
    return within(WAVELENGTH, tuple((lo + 5.0, hi - 5.0) for lo, hi in WATER_WINDOWS_NM))


@pytest.mark.parametrize(("lo", "hi"), WATER_WINDOWS_NM)
def test_water_windows_are_nearly_dark_and_their_neighbours_are_not(lo, hi):
    light = sensor().white_counts()
    beside = within(WAVELENGTH, ((lo - 40.0, lo - 15.0), (hi + 15.0, hi + 40.0)))
    assert light[within(WAVELENGTH, ((lo + 5.0, hi - 5.0),))].max() < 0.03 * light[beside].min()


@pytest.mark.parametrize("nm", [760.0, 940.0, 1130.0])
def test_absorption_lies_where_the_air_absorbs(nm):
    passed = transmittance(31.0)
    centre = int(nm - NM[0])
    assert passed[centre] < 0.8 * min(passed[centre - 40], passed[centre + 40])


def test_a_lower_sun_gives_less_light():
    assert (transmittance(50.0) < transmittance(20.0)).all()


def test_a_flat_spectrum_stays_flat_in_every_band():
    flat = np.full((2, len(NM)), 0.3, np.float32)
    np.testing.assert_allclose(sensor().to_bands(flat), 0.3, rtol=1e-6)


def test_a_white_panel_does_not_saturate():
    rng = np.random.default_rng(0)
    white = draw_strip(sensor(), 20, rng).reference(1.0, rng)
    assert white.max() < 60000


@given(st.floats(0.05, 0.9), st.floats(0.0, 0.2))
def test_without_noise_calibration_returns_the_reflectance(reflectance, change):
    strip, rng = NOISELESS, np.random.default_rng(1)
    white, dark = strip.reference(PANEL_REFLECTANCE, rng), strip.reference(0.0, rng)
    light = np.full((4, 6), 1.0 - change, np.float32)
    counts = strip.counts(np.full((4, 6, len(WAVELENGTH)), reflectance, np.float32), light, rng)
    found = calibrate(counts, white, dark)
    bright = white.mean(axis=(0, 2)) - dark.mean(axis=(0, 2)) > 500
    np.testing.assert_allclose(found[:, bright], reflectance * (1.0 - change), atol=4e-3)


def test_calibrated_windows_are_noisy():
    rng = np.random.default_rng(2)
    strip = draw_strip(sensor(), 30, rng)
    white, dark = strip.reference(PANEL_REFLECTANCE, rng), strip.reference(0.0, rng)
    scene = np.full((40, 30, len(WAVELENGTH)), 0.3, np.float32)
    found = calibrate(strip.counts(scene, np.ones((40, 30), np.float32), rng), white, dark)
    spread = found.std(axis=(0, 2))
    assert np.median(spread[in_windows()]) > 0.1
    assert np.median(spread[~in_windows()]) < 0.01


@given(st.integers(2, 50), st.floats(0.0, 0.2), st.integers(0, 1000))
def test_light_drifts_along_the_track_within_its_bound(lines, largest, seed):
    light = drift(lines, 3, largest, np.random.default_rng(seed))
    assert np.abs(light - 1.0).max() <= largest + 1e-6
    assert (light == light[:, :1]).all()
