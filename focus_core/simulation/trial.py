"""What grows where: the traits of every spot of the field, the stress in patches, and what is planted for checks.

Knows the field's own frame; knows neither flights nor spectra.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from focus_core.config import SimulateSettings
from focus_core.simulation.canopy import TRAITS
from focus_core.simulation.layout import CLASSES, CONTROL, MARGIN_PX, Layout, draw_layout

Float = npt.NDArray[np.float32]

_PATCH_PX = 4.0  # standard deviation of the smoothing behind a patch of stress
_SPOT_PX = 2.0  # the same behind natural variation, so that healthy crops are patchy too
_SHEET_PX = 3  # side of a bright sheet
_SHEETS = 4  # in each plot
_RAMP = 0.6  # how far into a patch, in standard deviations of its field, the stress reaches its full strength
_SPREAD = {"lai": 2.0}  # stands differ in leaf area far more than leaves do in their biochemistry
_RIM = 0.5  # strength at the rim of a patch, as a share of the full one


@dataclass(frozen=True)
class Trial:
    """Maps ``(v, u)`` in the field's frame, one value per pixel, with a rim of bare soil around them."""

    layout: Layout
    rim_px: int
    """Soil on each side of the field's frame, pixels."""
    plot: npt.NDArray[np.int16]
    """Index into the layout's plots; -1 on bare soil."""
    severity: Float
    """Strength of the plot's own stress, 0 to 1; 0 outside patches and in control plots."""
    variation: Mapping[str, Float]
    """Logarithm of each trait's natural factor."""
    soil: Float
    """Factor on the brightness of the soil."""
    sheet: npt.NDArray[np.bool_]
    """Where a bright sheet lies."""
    artefact: npt.NDArray[np.bool_]
    """``(plot,)``: which plots carry the shortcut's artefact."""

    def label(self) -> npt.NDArray[np.int16]:
        """Return the class index of every spot ``(v, u)``; -1 on bare soil."""
        labels = np.array([plot.label for plot in self.layout.plots] + [-1], np.int16)
        return labels[self.plot]


def draw_trial(settings: SimulateSettings) -> Trial:
    """Draw the whole field from the settings' seed."""
    placing, growing, stressing, planting = (
        np.random.default_rng(child) for child in np.random.SeedSequence(settings.seed).spawn(4)
    )
    layout = draw_layout(settings, placing)
    turn = math.sin(math.radians(abs(settings.rotation_deg)))
    rim = math.ceil((layout.width_px + layout.height_px) * turn) + 2 * MARGIN_PX + 2
    plot = np.full((layout.height_px + 2 * rim, layout.width_px + 2 * rim), -1, np.int16)
    for index, _ in enumerate(layout.plots):
        plot[_inside(layout, index, rim)] = index
    return Trial(
        layout=layout,
        rim_px=rim,
        plot=plot,
        severity=_severity(layout, rim, plot.shape, settings, stressing),
        variation=_variation(layout, plot, settings, growing),
        soil=_soil(plot.shape, growing),
        sheet=_sheets(layout, rim, plot.shape, planting) if settings.collapse else np.zeros(plot.shape, bool),
        artefact=_artefacts(layout, settings, planting),
    )


def _inside(layout: Layout, index: int, rim: int) -> tuple[slice, slice]:
    u, v = layout.corner(layout.plots[index])
    return slice(rim + v, rim + v + layout.plot_px), slice(rim + u, rim + u + layout.plot_px)


def _smooth(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Float:
    """Draw a Gaussian random field ``(v, u)`` of mean 0 and standard deviation 1."""
    field = rng.standard_normal(shape, np.float32)
    if sigma_px:
        field = ndimage.gaussian_filter(field, sigma_px, mode="wrap")
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _soil(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Draw the brightness of the soil relative to the laboratory's samples, which are sieved and even."""
    return np.asarray(0.7 * np.exp(0.1 * _smooth(shape, _PATCH_PX, rng) + 0.04 * _smooth(shape, 0.0, rng)), np.float32)


def _severity(
    layout: Layout,
    rim: int,
    shape: tuple[int, ...],
    settings: SimulateSettings,
    rng: np.random.Generator,
) -> Float:
    """Cut patches out of a smooth field, so that each plot's stressed share is as drawn."""
    field, severity = _smooth(shape, _PATCH_PX, rng), np.zeros(shape, np.float32)
    for index, plot in enumerate(layout.plots):
        strongest, share = rng.uniform(*settings.severity), rng.uniform(*settings.stressed_share)
        if CLASSES[plot.label] == CONTROL:
            continue
        here = _inside(layout, index, rim)
        depth = field[here] - np.quantile(field[here], 1.0 - share)
        strength = _RIM + (1.0 - _RIM) * np.minimum(depth / _RAMP, 1.0)
        severity[here] = np.where(depth > 0.0, strongest * strength, 0.0)
    return severity


def _variation(
    layout: Layout,
    plot: npt.NDArray[np.int16],
    settings: SimulateSettings,
    rng: np.random.Generator,
) -> dict[str, Float]:
    """Natural variation: between blocks (half as strong), between plots, and in spots within them."""
    blocks = np.unique([item.block for item in layout.plots], return_inverse=True)[1]
    maps = {}
    for trait in TRAITS:
        of_plot = rng.standard_normal(len(blocks)) + 0.5 * rng.standard_normal(blocks.max() + 1)[blocks]
        between = np.append(of_plot, 0.0).astype(np.float32)[plot]
        within = 0.9 * _smooth(plot.shape, _SPOT_PX, rng) + 0.4 * _smooth(plot.shape, 0.0, rng)
        spread = settings.natural_variation * _SPREAD.get(trait, 1.0)
        maps[trait] = np.asarray(spread * (between + within), np.float32)
    return maps


def _sheets(layout: Layout, rim: int, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Lay the same number of sheets at random places of every plot."""
    sheet = np.zeros(shape, bool)
    for index, _ in enumerate(layout.plots):
        here = _inside(layout, index, rim)
        for down, across in rng.integers(0, layout.plot_px - _SHEET_PX + 1, (_SHEETS, 2)):
            sheet[here][down : down + _SHEET_PX, across : across + _SHEET_PX] = True
    return sheet


def _artefacts(layout: Layout, settings: SimulateSettings, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw the plots with the artefact: nearly all of one class, and as small a share of the rest."""
    draw = rng.random(len(layout.plots))
    if settings.shortcut_class is None:
        return np.zeros(len(layout.plots), bool)
    is_class = np.array([CLASSES[plot.label] == settings.shortcut_class for plot in layout.plots])
    return np.where(is_class, draw < settings.shortcut_share, draw >= settings.shortcut_share)
