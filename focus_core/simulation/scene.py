"""Reflectance of the field on a flight's grid: crop rows over soil, at one stage of growth.

Knows traits, spectra and stages; knows neither light nor counts.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.config import SimulateSettings
from focus_core.simulation.canopy import CanopyTable, Float
from focus_core.simulation.layout import CLASSES, Grid
from focus_core.simulation.trial import Trial

# Mean over noise is 5: ingest must not mistake a null band for one without light and drop it.
_NULL_MEAN, _NULL_STD = 0.25, 0.05
_SHEET_REFLECTANCE = 0.85
_ROW_CONTRAST = 0.3  # of leaf area, between the middle of a row and its mean
_EXTINCTION = 1.2


@dataclass(frozen=True)
class Stage:
    """One flight: its day, the sun, the crop's growth since the first flight, and how the grid lies."""

    name: str
    date: dt.date
    sun_zenith_deg: float
    lai: float = 1.0
    """Factor on the leaf area of every class."""
    chlorophyll: float = 1.0
    """Factor on the chlorophyll of every class."""
    severity: float = 1.0
    """Factor on the stress."""
    soil_dryness: float = 0.5
    """Share of dry soil."""
    east_px: float = 0.0
    """How far the grid lies to the east of the first flight's, pixels."""
    north_px: float = 0.0
    """How far the grid lies to the north of the first flight's, pixels."""


STAGES = (
    Stage("flight-1", dt.date(2026, 6, 9), sun_zenith_deg=31.0),
    Stage(
        "flight-2",
        dt.date(2026, 6, 30),
        sun_zenith_deg=37.0,
        lai=1.12,
        chlorophyll=0.94,
        severity=1.05,
        soil_dryness=0.7,
        east_px=2.3,
        north_px=-1.6,
    ),
)


@dataclass(frozen=True)
class Spots:
    """Which spot of the field each pixel of a grid shows."""

    v: npt.NDArray[np.int64]
    """Row in the trial's maps ``(y, x)``."""
    u: npt.NDArray[np.int64]
    """Column in the trial's maps ``(y, x)``."""


def spots(trial: Trial, grid: Grid) -> Spots:
    """Find the spot under each pixel's centre."""
    x, y = np.meshgrid(grid.eastings(), grid.northings())
    u, v = trial.layout.to_field(x, y)
    height, width = trial.plot.shape
    rows = np.clip(np.floor(v).astype(np.int64) + trial.rim_px, 0, height - 1)
    cols = np.clip(np.floor(u).astype(np.int64) + trial.rim_px, 0, width - 1)
    return Spots(rows, cols)


@dataclass(frozen=True)
class Bands:
    """Spectra in a sensor's bands, and what is planted in them."""

    canopy: CanopyTable
    dry_soil: Float
    """``(band,)``, unitless."""
    wet_soil: Float
    """``(band,)``, unitless."""
    null: npt.NDArray[np.bool_]
    """``(band,)``: bands that hold noise only."""
    shortcut: npt.NDArray[np.bool_]
    """``(band,)``: bands of the shortcut's artefact."""


def reflectance(
    trial: Trial,
    stage: Stage,
    here: Spots,
    bands: Bands,
    settings: SimulateSettings,
    rng: np.random.Generator,
) -> Float:
    """Return the true reflectance of some lines.

    Null bands are overwritten with independent noise of one mean and spread everywhere, soil included, so that
    they tell nothing about a class.

    Returns
    -------
    npt.NDArray[np.float32]
        ``(y, x, band)``, unitless.
    """
    dryness = stage.soil_dryness
    soil = dryness * bands.dry_soil + (1.0 - dryness) * bands.wet_soil
    scene = trial.soil[here.v, here.u][..., None] * soil
    plot = trial.plot[here.v, here.u]
    crop = plot >= 0
    traits = _traits(trial, stage, here, crop, settings)
    # The canopy model sees an even crop; leaves that stand in clumps leave gaps beside it.
    cover = 1.0 - np.exp(-_EXTINCTION * traits["lai"][:, None])
    scene[crop] = cover * bands.canopy.reflectance(traits) + (1.0 - cover) * scene[crop]
    scene[trial.sheet[here.v, here.u]] = _SHEET_REFLECTANCE
    carriers = crop & np.append(trial.artefact, False)[plot]
    scene[..., bands.shortcut] += settings.shortcut_reflectance * carriers[..., None]
    noise = rng.normal(_NULL_MEAN, _NULL_STD, (*crop.shape, int(bands.null.sum())))
    scene[..., bands.null] = np.clip(noise, 0.01, 1.0)
    return np.asarray(scene, np.float32)


def _traits(
    trial: Trial, stage: Stage, here: Spots, crop: npt.NDArray[np.bool_], settings: SimulateSettings
) -> dict[str, Float]:
    """Traits of the crop's pixels ``(pixel,)`` in the units of `canopy.NODES`; leaf area is dense along the rows."""
    v, u = here.v[crop], here.u[crop]
    label, severity = trial.label()[v, u], np.minimum(stage.severity * trial.severity[v, u], 1.0)
    stress = {name: severity * (label == index) for index, name in enumerate(CLASSES)}
    factor = {name: np.exp(values[v, u]) for name, values in trial.variation.items()}
    row = 1.0 + _ROW_CONTRAST * np.cos(2.0 * np.pi * (u - trial.rim_px) / settings.row_px)
    return {
        "chlorophyll": 42.0 * stage.chlorophyll * factor["chlorophyll"] * (1.0 - 0.65 * stress["low_nitrogen"]),
        "water": 0.013 * factor["water"] * (1.0 - 0.7 * stress["drought"]),
        "brown": 0.08 * factor["brown"] ** 2 + 0.6 * stress["disease"],
        "lai": 3.2 * stage.lai * factor["lai"] * row,
        "thickness": np.clip(0.5 + 2.0 * np.log(factor["thickness"]), 0.0, 1.0),
    }
