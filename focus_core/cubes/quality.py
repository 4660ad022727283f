"""Which bands are bad and why: declared so, empty, or without signal.

Knows sampled spectra; reads no file. Noise is estimated by spectral and spatial decorrelation (Roger & Arnold 1996,
"Reliably estimating the noise in AVIRIS hyperspectral images", Int. J. Remote Sensing 17(10)): what neither the two
neighbouring bands nor the neighbouring pixel explain is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.errors import CubeError

LARGEST_MISSING_SHARE = 0.05
"""A band that misses more of the measured pixels is bad; below it, those pixels are invalid."""
LEAST_SNR = 4.0
"""Mean over noise below which details drown: between the 3 and 5 that Rose names (1948, "The sensitivity performance of
the human eye on an absolute scale", J. Opt. Soc. Am. 38(2))."""
WATER_VAPOUR_NM = ((1340.0, 1445.0), (1790.0, 1955.0))
"""Where the air's water vapour leaves next to no sunlight, nm, around its bands at 1380 and 1880 nm (Gao, Heidebrecht &
Goetz 1993, "Derivation of scaled surface reflectances from AVIRIS data", Remote Sensing of Environment 44(2-3)). The
limits are those that the National Ecological Observatory Network names in its reflectance files (attributes
``Band_Window_1_Nanometers`` and ``Band_Window_2_Nanometers``). They explain noise and condemn no band: under a lamp,
indoors or below a drone, a band there measures as well as any."""
_LEAST_PIXELS = 64
_TYPICAL_PIXELS = 4096


@dataclass(frozen=True)
class BandQuality:
    """A verdict on every band."""

    good: npt.NDArray[np.bool_]
    """``(band,)``."""
    reason: tuple[str, ...]
    """Why a band is bad; empty where it is good."""
    snr: npt.NDArray[np.float64]
    """Mean over noise ``(band,)``, unitless; NaN where it was not estimated."""


def judge_bands(
    sample: npt.NDArray[np.float32],
    wavelength: npt.NDArray[np.float64],
    declared_good: npt.NDArray[np.bool_],
    bad_ranges_nm: Sequence[tuple[float, float]],
) -> BandQuality:
    """Find the bad bands of a flight.

    Parameters
    ----------
    sample
        Lines of pixels ``(line, band, x)`` of the quantity, neighbours in x being neighbours on the ground; NaN where
        missing.
    wavelength
        ``(band,)``, nm.
    declared_good
        ``(band,)``: what the files' own bad-band lists leave.
    bad_ranges_nm
        Ranges that the campaign file declares bad, nm, both ends included.

    Raises
    ------
    CubeError
        If no band is left.
    """
    missing = _missing_share(sample)
    snr = signal_to_noise(sample, usable=missing <= LARGEST_MISSING_SHARE)
    reasons = []
    for band, nm in enumerate(wavelength):
        declared = [f"{lo:g}-{hi:g} nm" for lo, hi in bad_ranges_nm if lo <= nm <= hi]
        if not declared_good[band]:
            reasons.append("bad-band list of the file")
        elif declared:
            reasons.append(f"declared bad in the campaign file ({declared[0]})")
        elif missing[band] >= 1.0:
            reasons.append("no pixel measured")
        elif missing[band] > LARGEST_MISSING_SHARE:
            reasons.append(f"{missing[band]:.0%} of pixels missing")
        elif snr[band] < LEAST_SNR:
            vapour = [f" in the water-vapour window {lo:g}-{hi:g} nm" for lo, hi in WATER_VAPOUR_NM if lo <= nm <= hi]
            reasons.append(f"noise{''.join(vapour)}: signal-to-noise {snr[band]:.1f} below {LEAST_SNR:g}")
        else:
            reasons.append("")
    good = np.array([not reason for reason in reasons])
    if not good.any():
        raise CubeError(
            f"all {len(good)} bands are bad ({reasons[0]}, …); check 'bad_ranges_nm', and scale, fill value and "
            "references of the cubes"
        )
    return BandQuality(good=good, reason=tuple(reasons), snr=snr)


def typical(sample: npt.NDArray[np.float32], good: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64] | None:
    """Return the median of each good band ``(band,)`` over some of the pixels that have them all; none without any.

    Parameters
    ----------
    sample
        ``(line, band, x)``, as of `judge_bands`.
    good
        ``(band,)``.
    """
    pixels = sample[:, good].transpose(0, 2, 1).reshape(-1, int(good.sum()))
    pixels = pixels[:: max(len(pixels) // _TYPICAL_PIXELS, 1)]
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    return np.median(pixels, axis=0).astype(np.float64) if len(pixels) else None


def signal_to_noise(sample: npt.NDArray[np.float32], *, usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the mean over the decorrelated noise of each band ``(band,)``; NaN where it cannot be estimated.

    Parameters
    ----------
    sample
        ``(line, band, x)``.
    usable
        ``(band,)``: bands that are estimated and serve as neighbours.
    """
    snr = np.full(sample.shape[1], np.nan)
    chosen = np.flatnonzero(usable)
    if len(chosen) < 2:
        return snr
    for position, band in enumerate(chosen):
        beside = [chosen[other] for other in (position - 1, position + 1) if 0 <= other < len(chosen)]
        layers = [sample[:, band, 1:], *(sample[:, other, 1:] for other in beside), sample[:, band, :-1]]
        table = np.stack([layer.ravel() for layer in layers]).astype(np.float64)
        table = table[:, np.isfinite(table).all(axis=0)]
        if table.shape[1] < _LEAST_PIXELS:
            continue
        mean = table.mean(axis=1)
        table -= mean[:, None]
        products = table @ table.T
        weights = np.linalg.lstsq(products[1:, 1:], products[1:, 0], rcond=None)[0]
        residual = table[0] - weights @ table[1:]
        noise = float(np.sqrt((residual**2).sum() / (table.shape[1] - len(table))))
        snr[band] = mean[0] / noise if noise > 0.0 else (np.inf if mean[0] > 0.0 else 0.0)
    return snr


def _missing_share(sample: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Share of the measured pixels that each band misses; a pixel is measured if most bands that ever are have it."""
    finite = np.isfinite(sample)
    counts = finite.sum(axis=(0, 2))
    if not counts.any():
        return np.ones(sample.shape[1])
    measured = finite.sum(axis=1) > 0.5 * (counts > 0).sum()
    total = max(int(measured.sum()), 1)
    missing = 1.0 - (finite & measured[:, None, :]).sum(axis=(0, 2)) / total
    return np.asarray(missing, dtype=np.float64)
