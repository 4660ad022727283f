"""Who is champion: promotion through the gate, rollback, and deletion that harms nothing in use.

Every decision is written to the audit trail before the alias is moved, under one lock.
"""

from __future__ import annotations

from collections.abc import Mapping

from focus_core.errors import RegistryError, SettingsError
from focus_core.tracking import trail
from focus_core.tracking.comparison import compare
from focus_core.tracking.gate import judge
from focus_core.tracking.models import fetch_version
from focus_core.tracking.server import client, exclusive, reported
from focus_core.tracking.trail import AuditRecord
from focus_core.tracking.versions import (
    BACKBONE_MODEL,
    BACKBONE_TAG,
    CHAMPION,
    WEIGHTS_TAG,
    checked_name,
    exists,
    search,
    version,
)


class GateError(RegistryError):
    """A model fails the gate; the refusal is on record."""

    def __init__(self, message: str, record: AuditRecord) -> None:
        super().__init__(message)
        self.record = record


def promote(
    name: str,
    number: int,
    *,
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    not_below_champion_by: Mapping[str, float],
    override_reason: str | None = None,
) -> AuditRecord:
    """Make a version the champion if it passes the gate, and put the decision on record.

    Thresholds are read against the metrics of the run that trained the version; see `judge`. A
    version that is champion already stays so, and nothing is written.

    Parameters
    ----------
    name, number
        Registered model and version.
    at_least, at_most, not_below_champion_by
        Thresholds by metric name.
    override_reason
        Promotes although thresholds fail; kept in the record.

    Returns
    -------
    AuditRecord
        The record of the promotion.

    Raises
    ------
    GateError
        Listing each failed threshold; the refusal is on record.
    RegistryError
        If there is no such version.
    ModelError
        If the version's files are not those that were registered.
    """
    checked_name(name)
    with exclusive():
        records = trail.settle(name)
        challenger = version(name, number)
        present = trail.last(trail.champions(records))
        if present == number:
            return next(item for item in reversed(records) if item.moved)
        fetch_version(challenger)
        found = compare(challenger, version(name, present) if present is not None else None)
        verdicts = judge(
            found.challenger,
            found.champion,
            at_least=at_least,
            at_most=at_most,
            not_below_champion_by=not_below_champion_by,
        )
        failed = tuple(verdict.failure for verdict in verdicts if verdict.failure)
        refused = bool(failed) and override_reason is None
        run_id, record = trail.append(
            name,
            action="promote",
            outcome="refused" if refused else "moved",
            from_version=present,
            to_version=number,
            metrics={verdict.metric: verdict.value for verdict in verdicts if verdict.value is not None},
            champion_metrics={verdict.metric: verdict.champion for verdict in verdicts if verdict.champion is not None},
            failed=failed,
            digests=challenger.digests,
            reason=override_reason if failed else None,
        )
        if not refused:
            _move(name, number)
        record = trail.close(run_id, record, "done")
    if refused:
        raise GateError(
            f"version {number} of '{name}' is not promoted, it fails the gate: {'; '.join(failed)}. "
            "Train a better model, or give a reason to override",
            record,
        )
    return record


def rollback(name: str, *, reason: str) -> AuditRecord:
    """Return to the champion before the present one, by the audit trail.

    Versions deleted since are passed over; called twice, it goes back twice.

    Parameters
    ----------
    name
        Registered model.
    reason
        Why; kept in the record.

    Raises
    ------
    RegistryError
        If there was no champion before.
    ModelError
        If the files of the earlier version are not those that were registered.
    SettingsError
        If the reason is empty.
    """
    checked_name(name)
    if not reason.strip():
        raise SettingsError("a rollback needs a reason; say what is wrong with the present champion")
    with exclusive():
        stack = trail.champions(trail.settle(name))
        present = trail.last(stack)
        earlier = [item for item in reversed(stack) if item not in (None, present)]
        target = next((item for item in earlier if item is not None and exists(name, item)), None)
        if target is None:
            which = "no champion, and no earlier champion" if present is None else f"no earlier champion than {present}"
            raise RegistryError(f"'{name}' has {which} to return to; promote a version instead")
        restored = version(name, target)
        fetch_version(restored)
        run_id, record = trail.append(
            name,
            action="rollback",
            outcome="moved",
            from_version=present,
            to_version=target,
            digests=restored.digests,
            reason=reason.strip(),
        )
        _move(name, target)
        return trail.close(run_id, record, "done")


def delete_version(name: str, number: int) -> None:
    """Delete a version that nothing refers to; MLflow itself would delete a champion without a word.

    Raises
    ------
    RegistryError
        If the version bears an alias, or is a backbone that a registered model rests on.
    """
    checked_name(name)
    with exclusive():
        found = version(name, number)
        if found.aliases:
            raise RegistryError(
                f"version {number} of '{name}' is its {', '.join(found.aliases)}; promote another version first"
            )
        if name == BACKBONE_MODEL:
            users = search(f"tags.`{BACKBONE_TAG}` = '{found.digests[WEIGHTS_TAG]}'")
            if users:
                raise RegistryError(
                    f"the backbone version {number} carries {', '.join(sorted(item.uri for item in users))}; "
                    "delete those first"
                )
        with reported(f"delete version {number} of '{name}'"):
            client().delete_model_version(name, str(number))


def _move(name: str, number: int) -> None:
    with reported(f"make version {number} of '{name}' the {CHAMPION}"):
        client().set_registered_model_alias(name, CHAMPION, str(number))
