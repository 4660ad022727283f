"""The step ``promote``: a registered model to champion, through the gate."""

from __future__ import annotations

import logging

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import local_path
from focus_core.cubes.remote import is_remote
from focus_core.errors import ModelError
from focus_core.evaluation import drift_of_training
from focus_core.model import read_spec
from focus_core.report import Decision, render_decision
from focus_core.steps._page import write_page
from focus_core.steps._status import recorded

logger = logging.getLogger(__name__)


@recorded("model_uri")
def promote(model_uri: str, *, settings: PromoteSettings) -> Metrics:
    """Make a model the champion if its metrics on gate plots pass every threshold.

    How far its training plots are from the present champion's is logged before, as ``gate.drift.…`` (see `drift`), so
    that a threshold can hold back a model that was trained on an odd flight. A page that puts challenger and champion
    side by side is kept with the challenger's run (``promotion/<record>.html``) and, where the model is a local folder,
    beside it (``<folder>.promotion.html``), also when the model is refused.

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
    GateError
        If a threshold fails, naming each with its value; the attempt is kept in the audit trail.
    RegistryError
        If the model was never registered.
    ModelError
        If the model's files are not those that were registered.
    """
    found = tracking.find_version(model_uri, name=settings.model_name)
    moved = _drift(found)
    if moved:
        tracking.log_metrics(found.run_id, moved)
    try:
        record = tracking.promote(
            found.name,
            found.number,
            **_thresholds(settings),
            override_reason=settings.override_reason,
        )
    except tracking.GateError as refusal:
        _tell(model_uri, found, refusal.record, settings)
        raise
    _tell(model_uri, found, record, settings)
    return {"promoted": 1.0, "version": float(found.number)}


def _thresholds(settings: PromoteSettings) -> dict[str, dict[str, float]]:
    return {name: getattr(settings, name) for name in ("at_least", "at_most", "not_below_champion_by")}


def _tell(
    model_uri: str, challenger: tracking.Version, record: tracking.AuditRecord, settings: PromoteSettings
) -> None:
    """Write the page on a decision, once: a later call with other thresholds decides nothing."""
    name = f"promotion/{record.sequence:04d}.html"
    if record.action != "promote" or tracking.has_page(challenger.run_id, name):
        return
    former = tracking.version(challenger.name, record.from_version) if record.from_version is not None else None
    compared = tracking.compare(challenger, former)
    spec = read_spec(tracking.fetch_model(challenger.uri))
    decision = Decision(
        record=record,
        verdicts=tracking.judge(compared.challenger, compared.champion, **_thresholds(settings)),
        compared=compared,
        challenger=challenger,
        champion=former,
        training_campaign=spec.training_campaign,
        simulated=spec.simulated,
    )
    page = render_decision(decision)
    if not model_uri.startswith("models:") and not is_remote(model_uri):
        folder = local_path(model_uri)
        write_page(page, folder.with_name(f"{folder.name}.promotion.html"))
    tracking.log_page(challenger.run_id, name, page)


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
