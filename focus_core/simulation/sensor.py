"""The sensor and the air: from reflectance to counts, and back.

Knows bands, sunlight, absorption by the air, noise and the reference scans; knows nothing of the field. The
atmosphere is a smooth analytic model of our own with the absorption features where they are; it is no radiative
transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from focus_core.simulation.canopy import NM, Float

WATER_WINDOWS_NM = ((1350.0, 1450.0), (1800.0, 1950.0))
"""Ranges in which the air lets nearly no light through."""
PANEL_REFLECTANCE = 0.99
_REFERENCE_LINES = 24
_SPLIT_NM = 1000.0  # two detectors, each exposed so that its brightest band fills most of its range
_FULL, _FILL = 65535, 0.72
_ELECTRONS_PER_COUNT = 6.0
_READ_NOISE = 5.0  # counts
_DARK_LEVEL = 400.0  # counts
# Centre nm, width nm, optical depth at the zenith: oxygen at 760, carbon dioxide at 2010 and 2060, else water.
_LINES = (
    (720.0, 8.0, 0.12),
    (760.0, 3.0, 0.6),
    (820.0, 10.0, 0.12),
    (940.0, 18.0, 0.5),
    (1130.0, 22.0, 0.8),
    (2010.0, 10.0, 0.3),
    (2060.0, 10.0, 0.2),
    (2700.0, 120.0, 5.0),
)
# Centre nm, half width nm, optical depth at the zenith of the flat-topped windows.
_DEEP = ((1400.0, 48.0, 6.0), (1875.0, 73.0, 6.0))


def solar_photons() -> npt.NDArray[np.float64]:
    """Return photons from a black body of 5778 K ``(nm,)``, largest 1."""
    photons = NM**-4.0 / np.expm1(1.4388e7 / (NM * 5778.0))
    return np.asarray(photons / photons.max(), np.float64)


def transmittance(sun_zenith_deg: float) -> npt.NDArray[np.float64]:
    """Return the share of sunlight that reaches the ground ``(nm,)``, unitless."""
    depth = 0.0088 * (NM / 1000.0) ** -4.1 + 0.05 * (NM / 1000.0) ** -1.3
    for centre, width, strength in _LINES:
        depth += strength * np.exp(-(((NM - centre) / width) ** 2))
    for centre, width, strength in _DEEP:
        depth += strength * np.exp(-(((NM - centre) / width) ** 8))
    return np.asarray(np.exp(-depth / np.cos(np.radians(sun_zenith_deg))), np.float64)


@dataclass(frozen=True)
class Sensor:
    """A pushbroom camera under one sun."""

    wavelength: npt.NDArray[np.float64]
    """Band centres ``(band,)``, nm."""
    fwhm_nm: float
    sun_zenith_deg: float
    noise: float
    """Factor on shot and read noise."""

    def _photons(self) -> sparse.csr_array:
        """Light of each band ``(band, nm)``: Gaussian response times sunlight at the ground."""
        sigma = self.fwhm_nm / 2.3548
        distance = (NM - self.wavelength[:, None]) / sigma
        response = np.where(np.abs(distance) < 4.0, np.exp(-0.5 * distance**2), 0.0)
        response /= response.sum(axis=1, keepdims=True)
        return sparse.csr_array(response * solar_photons() * transmittance(self.sun_zenith_deg))

    def to_bands(self, spectra: Float) -> Float:
        """Return spectra ``(…, nm)`` as the bands see them ``(…, band)``, weighted by the light in each.

        A sparse product, because its order of summation, and so the last bit, depends on no number of threads.
        """
        photons = self._photons()
        seen = photons @ np.atleast_2d(spectra).T.astype(np.float64) / photons.sum(axis=1)[:, None]
        return np.asarray(seen.T.reshape(*spectra.shape[:-1], -1), np.float32)

    def white_counts(self) -> npt.NDArray[np.float64]:
        """Return the counts above dark ``(band,)`` of a surface of reflectance 1 in full light."""
        light = np.asarray(self._photons().sum(axis=1), np.float64)
        detector = self.wavelength >= _SPLIT_NM
        for side in (detector, ~detector):
            light[side] *= _FILL * _FULL / light[side].max()
        return light


@dataclass(frozen=True)
class Strip:
    """One flight line: the camera's columns with their own dark level and response."""

    sensor: Sensor
    dark_level: Float
    """``(band, x)``, counts."""
    white_level: Float
    """``(band, x)``: counts above dark of a surface of reflectance 1."""

    def counts(
        self, reflectance: npt.NDArray[np.floating[Any]], light: Float, rng: np.random.Generator
    ) -> npt.NDArray[np.uint16]:
        """Expose lines.

        Parameters
        ----------
        reflectance
            ``(y, x, band)``, unitless.
        light
            Light relative to the reference's ``(y, x)``, unitless.
        rng
            Draws the noise.

        Returns
        -------
        npt.NDArray[np.uint16]
            ``(y, band, x)``, counts.
        """
        signal = np.moveaxis(reflectance, -1, 1).astype(np.float32) * self.white_level * light[:, None, :]
        variance = signal / _ELECTRONS_PER_COUNT + _READ_NOISE**2
        noise = self.sensor.noise * np.sqrt(variance) * rng.standard_normal(signal.shape, np.float32)
        counts = np.rint(signal + self.dark_level + noise)
        return np.asarray(np.clip(counts, 0, _FULL), np.uint16)

    def reference(self, brightness: float, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
        """Scan a panel of the given reflectance: ``(y, band, x)``, counts; 0 is the closed shutter."""
        bands, samples = self.dark_level.shape
        panel = np.full((_REFERENCE_LINES, samples, bands), brightness, np.float32)
        return self.counts(panel, np.ones(panel.shape[:2], np.float32), rng)


def draw_strip(sensor: Sensor, samples: int, rng: np.random.Generator) -> Strip:
    """Draw a strip's pattern: brighter in the middle, and each element of the detector a little different."""
    across = np.linspace(-1.0, 1.0, samples, dtype=np.float32)
    shape = (len(sensor.wavelength), samples)
    dark = _DARK_LEVEL + 4.0 * rng.standard_normal(shape, np.float32)
    response = (1.0 - 0.15 * across**2) * (1.0 + 0.01 * rng.standard_normal(shape, np.float32))
    white = sensor.white_counts()[:, None] * response
    return Strip(sensor, dark_level=dark, white_level=np.asarray(white, np.float32))


def drift(lines: int, samples: int, largest: float, rng: np.random.Generator) -> Float:
    """Draw the light of a strip ``(y, x)``: a level, a trend along the track and a slow wave, at most ``largest``."""
    level, trend, wave, phase = rng.uniform(-1.0, 1.0, 4)
    along = np.linspace(-1.0, 1.0, lines)
    change = 0.5 * level + 0.3 * trend * along + 0.2 * wave * np.sin(np.pi * (along + phase))
    return np.repeat((1.0 + largest * change)[:, None], samples, axis=1).astype(np.float32)


def calibrate(counts: npt.NDArray[np.uint16], white: npt.NDArray[np.uint16], dark: npt.NDArray[np.uint16]) -> Float:
    """Return reflectance from counts ``(y, band, x)`` and the mean reference lines, as a user would.

    Bands without light divide by one count instead of by nothing.
    """
    low = dark.mean(axis=0, dtype=np.float32)
    span = np.maximum(white.mean(axis=0, dtype=np.float32) - low, 1.0)
    return np.asarray(PANEL_REFLECTANCE * (counts - low) / span, np.float32)
