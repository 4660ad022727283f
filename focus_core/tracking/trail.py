"""The audit trail: one record for each promotion, refusal and rollback, from which the champion can be replayed.

A record is a run in the experiment ``focus-audit``: it lives wherever the registry lives, under the same
access control, in one write, and MLflow's own pages show it. MLflow can neither forbid that a run is edited
nor that it is deleted, so each record carries the digest of the one before it, and a trail with a gap, a
changed record or a fork is refused. Knows nothing of gates or of models.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from focus_core.config import Settings
from focus_core.errors import RegistryError
from focus_core.tracking.server import client, experiment_id, reported, user
from focus_core.tracking.versions import champion, checked_name

Action = Literal["promote", "rollback", "outside"]
Outcome = Literal["moved", "refused"]
State = Literal["pending", "done", "interrupted"]

EXPERIMENT = "focus-audit"
_MODEL_TAG = "focus.model"
_RECORD_TAG = "focus.record"
_PIECE = 4000
"""Characters of a record in one tag; MLflow cuts tags at 8000 without a word."""
_STATES: dict[str, State] = {"RUNNING": "pending", "FINISHED": "done"}

logger = logging.getLogger(__name__)


class AuditRecord(Settings):
    """What was asked of the registry, by whom, and what came of it."""

    sequence: int
    """Position in the trail of its model, from 1."""
    model: str
    """Name of the registered model."""
    action: Action
    """``outside``: the alias was found moved by other means than this library."""
    outcome: Outcome
    from_version: int | None
    """Champion before."""
    to_version: int | None
    """Version that was to be champion."""
    when: str
    """UTC, ISO 8601."""
    who: str
    metrics: dict[str, float]
    """Judged metrics of the challenger."""
    champion_metrics: dict[str, float]
    """The same of the champion before."""
    failed: tuple[str, ...]
    """Thresholds that were failed; with ``moved`` they were overridden."""
    digests: dict[str, str]
    """Recorded sha256 of the version's files."""
    reason: str | None
    """Why it was overridden or rolled back."""
    previous: str
    """Digest of the record before; empty for the first."""
    state: State
    """``pending``: written, the alias not yet seen moved; ``interrupted``: it never was."""

    @property
    def moved(self) -> bool:
        """Whether the alias was moved."""
        return self.outcome == "moved" and self.state == "done"

    def digest(self) -> str:
        """Return the sha256 of everything but the state, which changes once."""
        return hashlib.sha256(self.content().encode()).hexdigest()

    def content(self) -> str:
        """Return the record as it is stored."""
        return json.dumps(self.model_dump(mode="json", exclude={"state"}), sort_keys=True)


def audit(name: str) -> list[AuditRecord]:
    """Return the audit trail of a model, oldest first.

    A trail whose replay is not the present champion is returned with a warning in the log: the alias was moved
    by other means, and the next promotion or rollback will put that on record.

    Raises
    ------
    RegistryError
        If a record was changed or removed, or two have the same predecessor.
    """
    records = [record for _, record in read(checked_name(name))]
    replayed, present = last(champions(records)), champion(name)
    if replayed != present:
        logger.warning(
            "the champion of '%s' is version %s, the audit trail says %s: the alias was moved by other means",
            name,
            present,
            replayed,
        )
    return records


def champions(records: Sequence[AuditRecord]) -> list[int | None]:
    """Return the champions in force after a trail, each on top of the one that a rollback returns to."""
    stack: list[int | None] = []
    for record in records:
        if not record.moved:
            continue
        if record.action == "rollback":
            while stack and stack[-1] != record.to_version:
                stack.pop()
        else:
            stack.append(record.to_version)
    return stack


def last(stack: Sequence[int | None]) -> int | None:
    """Return the top of a stack of champions."""
    return stack[-1] if stack else None


def read(name: str) -> list[tuple[str, AuditRecord]]:
    """Return each record of a model with the id of its run, oldest first, the chain checked."""
    with reported(f"read the audit trail of '{name}'"):
        api, runs, token = client(), [], None
        experiment = experiment_id(EXPERIMENT)
        while True:
            page = api.search_runs([experiment], f"tags.`{_MODEL_TAG}` = '{name}'", page_token=token)
            runs += [(run.info.run_id, _record(run)) for run in page]
            token = page.token
            if not token:
                break
    runs = _once(runs)
    previous = ""
    for position, (run_id, record) in enumerate(runs, start=1):
        if record.sequence != position or record.previous != previous:
            raise RegistryError(
                f"the audit trail of '{name}' is broken at record {position} (run {run_id} of '{EXPERIMENT}'): "
                "a record was changed, removed, or written at the same time elsewhere; restore the database"
            )
        previous = record.digest()
    return runs


def _once(runs: Sequence[tuple[str, AuditRecord]]) -> list[tuple[str, AuditRecord]]:
    """Return the records in their order, each once.

    Where a connection breaks after the server has written a record, MLflow's client sends it again: two runs with one
    content, of which one is closed later.
    """
    found: dict[str, tuple[str, AuditRecord]] = {}
    for run_id, record in sorted(runs, key=lambda item: (item[1].sequence, item[1].state == "pending")):
        found.setdefault(record.content(), (run_id, record))
    return list(found.values())


def append(
    name: str,
    *,
    action: Action,
    outcome: Outcome,
    from_version: int | None,
    to_version: int | None,
    metrics: Mapping[str, float] | None = None,
    champion_metrics: Mapping[str, float] | None = None,
    failed: tuple[str, ...] = (),
    digests: Mapping[str, str] | None = None,
    reason: str | None = None,
) -> tuple[str, AuditRecord]:
    """Write a record at the end of a trail, pending; the registry's lock must be held."""
    before = read(name)
    record = AuditRecord(
        sequence=len(before) + 1,
        model=name,
        action=action,
        outcome=outcome,
        from_version=from_version,
        to_version=to_version,
        when=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        who=user(),
        metrics=_finite(metrics),
        champion_metrics=_finite(champion_metrics),
        failed=failed,
        digests=dict(digests or {}),
        reason=reason,
        previous=before[-1][1].digest() if before else "",
        state="pending",
    )
    text = record.content()
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    tags = {f"{_RECORD_TAG}.{index:03d}": piece for index, piece in enumerate(pieces)}
    with reported(f"write the audit record of '{name}'"):
        run = client().create_run(
            experiment_id(EXPERIMENT),
            tags={_MODEL_TAG: name, "mlflow.user": record.who, **tags},
            run_name=f"{name} {record.sequence}: {action}, {outcome}",
        )
    return str(run.info.run_id), record


def close(run_id: str, record: AuditRecord, state: Literal["done", "interrupted"]) -> AuditRecord:
    """Say what came of a pending record."""
    with reported(f"close the audit record {record.sequence} of '{record.model}'"):
        client().set_terminated(run_id, "FINISHED" if state == "done" else "KILLED")
    return record.model_copy(update={"state": state})


def settle(name: str) -> list[AuditRecord]:
    """Bring a trail up to date with the alias and return it; the registry's lock must be held.

    A pending record was left by a process that died: the alias says whether it had moved it. An alias that
    stands elsewhere than the trail says was moved by other means; that is put on record.
    """
    present = champion(name)
    records = []
    for run_id, record in read(name):
        if record.state == "pending":
            moved = record.outcome == "refused" or record.to_version == present
            record = close(run_id, record, "done" if moved else "interrupted")
        records.append(record)
    replayed = last(champions(records))
    if replayed != present:
        logger.warning("the champion of '%s' was moved from %s to %s by other means", name, replayed, present)
        run_id, record = append(name, action="outside", outcome="moved", from_version=replayed, to_version=present)
        records.append(close(run_id, record, "done"))
    return records


def _finite(metrics: Mapping[str, float] | None) -> dict[str, float]:
    """Leave out what JSON cannot hold; the failed threshold names it."""
    return {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}


def _record(run: Any) -> AuditRecord:
    tags = run.data.tags
    text = "".join(tags[key] for key in sorted(tags) if key.startswith(f"{_RECORD_TAG}."))
    try:
        content = json.loads(text)
        return AuditRecord(**content, state=_STATES.get(run.info.status, "interrupted"))
    except (ValueError, TypeError) as error:
        raise RegistryError(
            f"the audit record in run {run.info.run_id} of '{EXPERIMENT}' cannot be read; restore the database"
        ) from error
