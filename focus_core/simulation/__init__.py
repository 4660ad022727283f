"""A simulated field trial as a drone team would deliver it: two flights over one field.

Knows the folder as a whole: whether it may be written, and that it appears whole or not at all.
"""

from __future__ import annotations

import logging
from pathlib import Path

from focus_core import __version__
from focus_core.config import SimulateSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import local_path, record
from focus_core.errors import MissingInputError, TargetError
from focus_core.simulation.flight import write_flight
from focus_core.simulation.layout import CLASSES
from focus_core.simulation.scene import STAGES
from focus_core.simulation.trial import draw_trial

__all__ = ["simulate"]

_LOG = logging.getLogger(__name__)
_STEP = "simulate"


def simulate(folder: str, *, settings: SimulateSettings) -> Metrics:
    """Write a simulated field trial: a folder per flight with raw scans, plots, masks, truth and campaign file.

    The field, its plots and its stress are one; light, stage of growth, pixel grid and noise differ between the
    flights. The same settings give the same bytes.

    Parameters
    ----------
    folder
        Target: a folder that does not exist or is empty, or one that the same settings wrote.
    settings
        Size of the trial, strength of stress and noise, and what is planted for checks.

    Returns
    -------
    Metrics
        Numbers of plots, blocks and bands, and per flight and stress the stressed share of the plots' area, the
        number of reference bands and the largest effect size.

    Raises
    ------
    TargetError
        If the folder holds something else, or a trial of other settings.
    SettingsError
        If the extra ``demo`` is not installed.
    """
    _refuse_other_settings(folder, settings)

    def write(staging: Path) -> Metrics:
        trial = draw_trial(settings)
        metrics: Metrics = {
            "plots": float(len(trial.layout.plots)),
            "blocks": float(settings.blocks),
            "classes": float(len(CLASSES)),
            "bands": float(settings.bands),
            "flights": float(len(STAGES)),
        }
        for stage in STAGES:
            _LOG.info("simulating %s", stage.name)
            metrics |= write_flight(staging / stage.name, trial, stage, settings)
        return metrics

    return publish(folder, step=_STEP, inputs={}, settings=settings, write=write)


def _refuse_other_settings(folder: str, settings: SimulateSettings) -> None:
    """Keep a trial from being overwritten, unlike a store: results may lie beside its files."""
    try:
        found = record(folder)
    except MissingInputError:
        return
    wanted = {"step": _STEP, "version": __version__, "settings": settings.model_dump(mode="json")}
    differing = [key for key, value in wanted.items() if found.get(key) != value]
    if differing:
        raise TargetError(
            f"'{local_path(folder)}' holds the result of '{found.get('step')}' with another "
            f"{', '.join(differing)}; choose another folder or remove it"
        )
