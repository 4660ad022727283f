"""The truth about a simulated flight: which bands differ between stressed and healthy pixels, sensor noise included.

Knows calibrated pixels and their classes; writes no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.simulation.canopy import Float
from focus_core.simulation.layout import CLASSES, CONTROL

_SHARE_OF_LARGEST = 0.5


class Moments:
    """Running sums over pixels of each class, so that no flight is held whole in memory."""

    def __init__(self, bands: int) -> None:
        self._count = np.zeros((len(CLASSES), 1))
        self._sum = np.zeros((len(CLASSES), bands))
        self._square = np.zeros((len(CLASSES), bands))

    def add(self, reflectance: Float, pixels: npt.NDArray[np.bool_]) -> None:
        """Add pixels.

        Parameters
        ----------
        reflectance
            ``(y, band, x)``, unitless, as calibrated.
        pixels
            ``(cls, y, x)``: stressed pixels of each class, and for the control all its healthy ones.
        """
        spectra = np.moveaxis(reflectance, 1, -1)
        for index, chosen in enumerate(pixels):
            values = spectra[chosen].astype(np.float64)
            self._count[index] += len(values)
            self._sum[index] += values.sum(axis=0)
            self._square[index] += (values**2).sum(axis=0)

    def effect_size(self) -> npt.NDArray[np.float64]:
        """Return ``(cls, band)``: |difference of means from the control's| over the pooled standard deviation.

        Cohen's d (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences), without its sign; NaN for
        the control itself and for a class without pixels.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._sum / self._count
            scatter = self._square - self._count * mean**2
            control = CLASSES.index(CONTROL)
            pooled = (scatter + scatter[control]) / (self._count + self._count[control] - 2.0)
            effect = np.abs(mean - mean[control]) / np.sqrt(pooled)
        effect[control] = np.nan
        return np.asarray(effect, np.float64)


@dataclass(frozen=True)
class Truth:
    """Effect sizes of a flight and the reference bands that follow from them."""

    wavelength: npt.NDArray[np.float64]
    """``(band,)``, nm."""
    effect_size: npt.NDArray[np.float64]
    """``(cls, band)``, unitless; NaN for the control."""
    eligible: npt.NDArray[np.bool_]
    """``(band,)``: bands that a model sees and that hold physiology."""

    def reference(self) -> npt.NDArray[np.bool_]:
        """Return ``(cls, band)``: eligible bands with at least half the largest effect of their class."""
        effect = np.where(self.eligible, np.nan_to_num(self.effect_size), 0.0)
        largest = effect.max(axis=1, keepdims=True)
        return np.asarray((effect >= _SHARE_OF_LARGEST * largest) & (effect > 0.0), np.bool_)

    def ranges_nm(self) -> dict[str, list[list[float]]]:
        """Return the reference bands of each stressed class as ranges that reach half-way to the next band, nm."""
        middle = (self.wavelength[1:] + self.wavelength[:-1]) / 2.0
        first, last = 2.0 * self.wavelength[0] - middle[0], 2.0 * self.wavelength[-1] - middle[-1]
        edges = np.round(np.concatenate(([first], middle, [last])), 3)
        ranges = {}
        for name, chosen in zip(CLASSES, self.reference(), strict=True):
            change = np.diff(np.concatenate(([0], chosen.astype(np.int8), [0])))
            starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
            if len(starts):
                ranges[name] = [[float(edges[lo]), float(edges[hi])] for lo, hi in zip(starts, stops, strict=True)]
        return ranges
