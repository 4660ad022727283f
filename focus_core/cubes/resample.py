"""Spectra on other bands: what a sensor with given centres and widths would have measured.

Knows band centres and widths; reads no file. The response of a band is a Gaussian of its full width at half maximum
(FWHM), as imaging spectrometers are commonly described (e.g. Green et al. 1998, "Imaging spectroscopy and the Airborne
Visible/Infrared Imaging Spectrometer", Remote Sens. Environ. 65(3)). A spectrum that was measured with FWHM `s` and is
smoothed with a Gaussian of FWHM `k` has `sqrt(s² + k²)`, so that much is smoothed as the target is wider than the
source, and nothing where it is narrower: detail that was not measured cannot be had back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.config import OUTSIDE
from focus_core.errors import CubeError

Floats = npt.NDArray[np.float64]

_PER_SIGMA = 8.0 * np.log(2.0)
"""FWHM² over variance of a Gaussian."""
_REACH_SIGMA = 3.0
_NODES = 65
_LEAST_MEASURED = 0.5
"""A target band is measured if source bands cover this share of its width."""
_ROUNDING_NM = 0.01


@dataclass(frozen=True)
class Resampling:
    """How bands of a target are made of bands of a source."""

    weights: Floats
    """``(target, source)``; each row adds up to 1, or is NaN where only bad bands measure the target."""
    fwhm_nm: Floats
    """FWHM that results ``(target,)``, nm: the target's, or the source's where that is wider."""

    def apply(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return ``(target, y, x)`` of a block ``(source, y, x)``; NaN where a band that counts is missing."""
        weights = self.weights.astype(np.float32)
        missing = np.isnan(block)
        values = np.tensordot(weights, np.where(missing, np.float32(0.0), block), axes=1)
        if missing.any():
            touched = np.tensordot((weights != 0.0).astype(np.float32), missing.astype(np.float32), axes=1)
            values[touched > 0.0] = np.nan
        return np.asarray(values, dtype=np.float32)

    def leaked(self, source_group: npt.NDArray[np.int64], target_group: npt.NDArray[np.int64]) -> Floats:
        """Return the share of each target band's weight ``(target,)`` from source bands of another wavelength group.

        Parameters
        ----------
        source_group, target_group
            Group of each band, ``OUTSIDE`` where it has none; a band outside all groups leaks nothing.
        """
        other = (source_group[None, :] != target_group[:, None]) & (source_group[None, :] != OUTSIDE)
        other &= target_group[:, None] != OUTSIDE
        return np.asarray(np.where(other, np.nan_to_num(self.weights), 0.0).sum(axis=1))


def resampling(
    source_nm: Floats,
    source_fwhm_nm: Floats,
    good: npt.NDArray[np.bool_],
    target_nm: Floats,
    target_fwhm_nm: Floats,
    *,
    name: str,
) -> Resampling:
    """Return the weights that turn a spectrum on the source's bands into one on the target's.

    The source is taken as linear between its bands and smoothed with the Gaussian that the target's width leaves over.
    Smoothing is cut alike on both sides where the source ends, so that constant and linear spectra are kept exactly.

    Parameters
    ----------
    source_nm, source_fwhm_nm
        Centres and FWHM of the source ``(source,)``, nm, increasing; a width that is not known (NaN) is the distance
        to the nearer neighbour.
    good
        ``(source,)``; bad bands get no weight.
    target_nm, target_fwhm_nm
        Centres and FWHM of the target ``(target,)``, nm.
    name
        The source, for messages.

    Raises
    ------
    CubeError
        If the source does not reach a target band, or has no band in a gap where the target has one.
    """
    spacing = nearest_spacing(source_nm)
    width = np.where(np.isnan(source_fwhm_nm), spacing, source_fwhm_nm)
    _refuse_extrapolation(source_nm, width, target_nm, target_fwhm_nm, name)
    reach = np.maximum(width, spacing)
    measured = _measured_share(source_nm, reach, target_nm, target_fwhm_nm)
    if (measured < _LEAST_MEASURED).any():
        raise CubeError(
            f"{name}: has no bands near {target_nm[measured < _LEAST_MEASURED][:5].tolist()} nm, which 'resample_to' "
            "asks for; leave those wavelengths out"
        )
    measured = _measured_share(source_nm[good], reach[good], target_nm, target_fwhm_nm)
    weights = np.full((len(target_nm), len(source_nm)), np.nan)
    for band in np.flatnonzero(measured >= _LEAST_MEASURED):
        weights[band] = 0.0
        weights[band, good] = _row(source_nm[good], width[good], target_nm[band], target_fwhm_nm[band])
    spread = (weights * (source_nm - target_nm[:, None]) ** 2).sum(axis=1)
    return Resampling(weights, np.sqrt(_PER_SIGMA * spread + (weights * width**2).sum(axis=1)))


def nearest_spacing(nm: Floats) -> Floats:
    """Return the distance of each band to its nearer neighbour ``(band,)``, nm."""
    gaps = np.diff(nm)
    return np.asarray(np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf)))


def _refuse_extrapolation(nm: Floats, width: Floats, target_nm: Floats, target_fwhm_nm: Floats, name: str) -> None:
    low, high = nm[0] - width[0] / 2.0, nm[-1] + width[-1] / 2.0
    beyond = (target_nm < nm[0] - _ROUNDING_NM) | (target_nm > nm[-1] + _ROUNDING_NM)
    beyond |= target_nm - target_fwhm_nm / 2.0 < low - _ROUNDING_NM
    beyond |= target_nm + target_fwhm_nm / 2.0 > high + _ROUNDING_NM
    if beyond.any():
        raise CubeError(
            f"{name}: measures {low:g} to {high:g} nm, but 'resample_to' asks for bands at "
            f"{target_nm[beyond][:5].tolist()} nm of {target_fwhm_nm[beyond][:5].tolist()} nm width, which reach "
            "beyond; leave them out"
        )


def _measured_share(nm: Floats, reach: Floats, target_nm: Floats, target_fwhm_nm: Floats) -> Floats:
    """Return the share of each target's full width at half maximum that lies within ``reach / 2`` of a source band."""
    nodes = target_nm[:, None] + target_fwhm_nm[:, None] * np.linspace(-0.5, 0.5, 33)
    near = np.abs(nodes[..., None] - nm) <= reach / 2.0 + _ROUNDING_NM
    return np.asarray(near.any(axis=-1).mean(axis=-1))


def _row(nm: Floats, width: Floats, centre: float, fwhm: float) -> Floats:
    """Weights ``(source,)`` of one target band."""
    centre = float(np.clip(centre, nm[0], nm[-1]))
    left = int(np.clip(np.searchsorted(nm, centre, side="right") - 1, 0, len(nm) - 2))
    # Linear interpolation smooths too: by a sixth of the squared spacing, averaged over where the centre lies.
    own = float(np.interp(centre, nm, width)) ** 2 / _PER_SIGMA + (nm[left + 1] - nm[left]) ** 2 / 6.0
    sigma = float(np.sqrt(max(fwhm**2 / _PER_SIGMA - own, 0.0)))
    reach = min(_REACH_SIGMA * sigma, centre - nm[0], nm[-1] - centre)
    if reach <= 0.0:
        offsets, kernel = np.zeros(1), np.ones(1)
    else:
        offsets = np.linspace(-reach, reach, _NODES)
        kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    nodes = centre + offsets
    lower = np.clip(np.searchsorted(nm, nodes, side="right") - 1, 0, len(nm) - 2)
    share = (nodes - nm[lower]) / (nm[lower + 1] - nm[lower])
    row = np.zeros(len(nm))
    np.add.at(row, lower, kernel * (1.0 - share))
    np.add.at(row, lower + 1, kernel * share)
    return np.asarray(row / kernel.sum())
