"""Simulated windows of any number of classes, each with absorption ranges of its own: the answer is known beforehand.

Knows spectra, windows and ranges; knows neither fields nor models. Spectra are smooth random curves, not a canopy's.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from focus_core.config import WavelengthGroups, parse_groups
from focus_core.training import Labelled

SIDE_PX, PATCH_PX = 16, 4
FEATURES = 12
RANGES_OF_A_CLASS = 3

_BANDS = 120
_GROUPS = "uniform:175"
_DISTURBANCE = 0.008
"""Standard deviation over windows of every feature's depth, in every class."""
_LEVEL, _WAVES, _WAVE = 0.3, 4, 0.02
_SHARE = (0.35, 0.75)
"""Range of the share of a window that shows its class."""


class Planted(NamedTuple):
    """A problem and its answer."""

    wavelength: Float[np.ndarray, " band"]
    """Band centres, nm."""
    groups: WavelengthGroups
    reference: Bool[np.ndarray, "cls band"]
    """Bands that absorb in each class; none in the first, the control."""
    train: Labelled
    validation: Labelled
    test: Labelled
    test_mask: Float[np.ndarray, "tile py px"]
    """Share of each patch of the test windows that shows the class; 0 for the control."""


def plant(
    classes: int, *, windows: tuple[int, int, int], seed: int, depth: float = 0.05, noise: float = 0.01
) -> Planted:
    """Draw a problem: a control, and classes that each absorb in another combination of the same few ranges.

    Classes share ranges, as stresses share pigments and water: none is known by one range alone.

    Parameters
    ----------
    classes
        The control among them; at most one more than there are combinations.
    windows
        To train on, to validate and to test, each of a plot of its own; classes take turns.
    seed
        Of everything drawn; the ranges are the same for every number of classes, and all but the noise for every
        level of noise.
    depth
        Reflectance that the strongest absorption of a class takes away.
    noise
        Standard deviation of each pixel's noise in reflectance, mean over bands; half of it in the middle of the
        spectrum, twice at its ends.
    """
    wavelength = np.linspace(405.0, 2495.0, _BANDS)
    features = _features(wavelength, np.random.default_rng(seed))
    rng = np.random.default_rng([seed, classes])
    every = list(itertools.combinations(range(FEATURES), RANGES_OF_A_CLASS))
    member = np.zeros((classes, FEATURES), np.bool_)
    for cls, chosen in enumerate(rng.permutation(len(every))[: classes - 1], start=1):
        member[cls, list(every[chosen])] = True
    deviation = noise * (0.5 + 1.5 * np.linspace(-1.0, 1.0, _BANDS) ** 2)
    parts = [_windows(count, depth * member, features, deviation, rng) for count in windows]
    (train, _), (validation, _), (test, mask) = parts
    return Planted(wavelength, parse_groups(_GROUPS), member @ features, train, validation, test, mask)


def _features(wavelength: Float[np.ndarray, " band"], rng: np.random.Generator) -> Bool[np.ndarray, "feature band"]:
    """Return absorption ranges of 70-130 nm that do not touch; their edges are not those of the groups."""
    slot = np.linspace(400.0, 2500.0, FEATURES + 1)[:-1]
    width = rng.uniform(70.0, 130.0, FEATURES)
    low = slot + rng.uniform(0.0, 2100.0 / FEATURES - width)
    return np.asarray((wavelength >= low[:, None]) & (wavelength < (low + width)[:, None]))


def _windows(
    count: int,
    depths: Float[np.ndarray, "cls feature"],
    features: Bool[np.ndarray, "feature band"],
    deviation: Float[np.ndarray, " band"],
    rng: np.random.Generator,
) -> tuple[Labelled, Float[np.ndarray, "tile py px"]]:
    """Draw windows and, patch by patch, where they show their class."""
    label = np.arange(count) % len(depths)
    mask = np.stack([_region(rng) for _ in label]) * (label > 0)[:, None, None]
    depth = depths[label] * rng.uniform(0.5, 1.0, (count, FEATURES))
    everywhere = _DISTURBANCE * rng.standard_normal((count, FEATURES))
    reflectance = _background(count, features.shape[1], rng) - (everywhere @ features)[:, :, None, None]
    reflectance -= (depth @ features)[:, :, None, None] * mask[:, None]
    reflectance += deviation[:, None, None] * rng.standard_normal(reflectance.shape)
    every = torch.arange(count)
    labelled = Labelled(torch.from_numpy(reflectance).float(), torch.from_numpy(label), every, torch.ones(count))
    patches = SIDE_PX // PATCH_PX
    return labelled, np.asarray(mask.reshape(count, patches, PATCH_PX, patches, PATCH_PX).mean(axis=(2, 4)))


def _background(count: int, bands: int, rng: np.random.Generator) -> Float[np.ndarray, "tile band y x"]:
    """Draw a smooth spectrum for each window, and a brightness for each pixel of it."""
    along = np.linspace(0.0, 1.0, bands)
    waves = np.sin(2.0 * np.pi * (np.arange(1, _WAVES + 1)[:, None] * along + rng.uniform(size=(count, _WAVES, 1))))
    spectrum = _LEVEL + _WAVE * (rng.standard_normal((count, _WAVES, 1)) * waves).sum(axis=1)
    brightness = 1.0 + 0.03 * rng.standard_normal((count, 1, SIDE_PX, SIDE_PX))
    return np.asarray(spectrum[:, :, None, None] * brightness)


def _region(rng: np.random.Generator) -> Int[np.ndarray, "y x"]:
    """Draw one side of a straight line across the window, at any angle."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    height = np.cos(angle) * y + np.sin(angle) * x
    return np.asarray(height <= np.quantile(height, rng.uniform(*_SHARE)), np.int64)
