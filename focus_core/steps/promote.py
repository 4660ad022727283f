"""The step ``promote``: a registered model to champion, through the gate."""

from __future__ import annotations

import logging

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.cubes.publish import Metrics
from focus_core.errors import ModelError
from focus_core.evaluation import drift_of_training
from focus_core.model import read_spec
from focus_core.steps._status import recorded

logger = logging.getLogger(__name__)


@recorded("model_uri")
def promote(model_uri: str, *, settings: PromoteSettings) -> Metrics:
    """Make a model the champion if its metrics on gate plots pass every threshold.

    How far its training plots are from the present champion's is logged before, as ``gate.drift.…`` (see `drift`), so
    that a threshold can hold back a model that was trained on an odd flight.

    Parameters
    ----------
    model_uri
        The model folder that ``train`` wrote and ``evaluate`` judged, or ``models:/<name>/<version>``.
    settings
        Thresholds, and the reason for an override.

    Returns
    -------
    Metrics
        ``promoted`` (1) and the ``version``.

    Raises
    ------
    RegistryError
        If a threshold fails, naming each with its value; the attempt is kept in the audit trail. Also if the
        model was never registered.
    ModelError
        If the model's files are not those that were registered.
    """
    found = tracking.find_version(model_uri, name=settings.model_name)
    moved = _drift(found)
    if moved:
        tracking.log_metrics(found.run_id, moved)
    tracking.promote(
        found.name,
        found.number,
        at_least=settings.at_least,
        at_most=settings.at_most,
        not_below_champion_by=settings.not_below_champion_by,
        override_reason=settings.override_reason,
    )
    return {"promoted": 1.0, "version": float(found.number)}


def _drift(challenger: tracking.Version) -> Metrics:
    """Compare with the present champion; nothing without one."""
    present = tracking.champion(challenger.name)
    if present is None:
        return {}
    uris = (challenger.uri, f"models:/{challenger.name}/{present}")
    try:
        own, other = (read_spec(tracking.fetch_model(uri)) for uri in uris)
    except ModelError as error:  # a damaged champion must not keep its successor out
        logger.warning("drift is not judged: %s", error)
        return {}
    return {f"gate.drift.{name}": value for name, value in drift_of_training(own, other).items()}
