"""Challenger and champion side by side: their metrics on gate plots, on the same ones where ``evaluate`` saw to it.

``evaluate`` logs what the champion reaches on the challenger's gate plots to the challenger's run, under
``champion.…``. Knows nothing of thresholds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from focus_core.tracking.runs import log_metrics
from focus_core.tracking.server import client, reported
from focus_core.tracking.versions import BACKBONE_MODEL, Version, champion, of_run, version

_GATE = "gate."
_BESIDE = "champion."
_NUMBER = "champion.version"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Metrics on gate plots, by the names that ``evaluate`` gives them (``gate.…``)."""

    challenger: Mapping[str, float]
    champion: Mapping[str, float] | None
    """``None`` without a champion."""
    same_plots: bool
    """Whether the champion's are on the challenger's gate plots; else they are on those of its own training."""


def unseen_champion(run_id: str) -> Version | None:
    """Return the champion that the model of a run would have to beat, if `log_champion` has not been told of it.

    ``None`` also where the model is champion itself, there is no champion, or the run registered no model.
    """
    own = [item for item in of_run(run_id) if item.name != BACKBONE_MODEL]
    number = champion(own[0].name) if own else None
    if number is None or number in [item.number for item in own] or _metrics(own[0]).get(_NUMBER) == number:
        return None
    return version(own[0].name, number)


def log_champion(run_id: str, number: int, metrics: Mapping[str, float]) -> None:
    """Log what a champion reaches on the gate plots of the model that a run trained.

    Parameters
    ----------
    run_id
        The run of the challenger.
    number
        Version of the champion.
    metrics
        By the names of `Compared`.
    """
    log_metrics(run_id, {_NUMBER: float(number), **{f"{_BESIDE}{name}": value for name, value in metrics.items()}})


def compare(challenger: Version, former: Version | None) -> Compared:
    """Return the metrics of a challenger and of the champion on gate plots.

    A champion that ``evaluate`` did not see is judged by its own gate plots, with a warning in the log.
    """
    own = _metrics(challenger)
    gate = {name: value for name, value in own.items() if name.startswith(_GATE)}
    if former is None:
        return Compared(challenger=gate, champion=None, same_plots=False)
    if own.get(_NUMBER) == former.number:
        beside = {name.removeprefix(_BESIDE): value for name, value in own.items() if name.startswith(_BESIDE + _GATE)}
        return Compared(challenger=gate, champion=beside, same_plots=True)
    logger.warning(
        "%s was never scored on the gate plots of %s and is judged by its own; run 'evaluate' before 'promote'",
        former.uri,
        challenger.uri,
    )
    theirs = {name: value for name, value in _metrics(former).items() if name.startswith(_GATE)}
    return Compared(challenger=gate, champion=theirs, same_plots=False)


def _metrics(found: Version) -> dict[str, float]:
    with reported(f"read the metrics of {found.uri}"):
        logged = client().get_run(found.run_id).data.metrics
    return {name: float(value) for name, value in logged.items()}
