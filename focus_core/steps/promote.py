"""The step ``promote``: a registered model to champion, through the gate."""

from __future__ import annotations

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.cubes.publish import Metrics
from focus_core.steps._status import recorded


@recorded("model_uri")
def promote(model_uri: str, *, settings: PromoteSettings) -> Metrics:
    """Make a model the champion if its metrics on gate plots pass every threshold.

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
    tracking.promote(
        found.name,
        found.number,
        at_least=settings.at_least,
        at_most=settings.at_most,
        not_below_champion_by=settings.not_below_champion_by,
        override_reason=settings.override_reason,
    )
    return {"promoted": 1.0, "version": float(found.number)}
