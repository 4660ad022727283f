"""The page on one decision of the registry: challenger and champion on gate plots, thresholds, and what came of it.

Knows no MLflow; what it shows was read from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from focus_core import __version__
from focus_core.report.template import own_file, policy, template
from focus_core.report.words import MetricRow, metric_rows
from focus_core.tracking import AuditRecord, Compared, Verdict, Version

_CURVES = "gate.importance."
"""What a class's curve is, group by group, is no figure to compare."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the page is made from."""

    record: AuditRecord
    verdicts: tuple[Verdict, ...]
    compared: Compared
    challenger: Version
    champion: Version | None
    """Before the decision."""
    training_campaign: str
    """Of the challenger; its gate plots are those that count."""
    simulated: bool
    """Whether that campaign was simulated."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One metric of both models; ``None`` where it was not logged."""

    name: str
    about: str
    meaning: str
    challenger: MetricRow | None
    champion: MetricRow | None

    @property
    def gain(self) -> float | None:
        """Return how far the challenger is above the champion; whether that is better, the meaning says."""
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger.value - self.champion.value


def render_decision(decision: Decision) -> str:
    """Return the page as HTML; it needs no other file and runs no script."""
    return template("promotion.html.j2").render(
        version=__version__,
        decision=decision,
        record=decision.record,
        challenger=decision.challenger,
        champion=decision.champion,
        pairs=_pairs(decision.compared.challenger, decision.compared.champion or {}),
        policy=policy({}),
        style=Markup(own_file("page.css")),
    )


def _pairs(challenger: Mapping[str, float], champion: Mapping[str, float]) -> list[Pair]:
    """Return each metric once, in the challenger's order."""
    left, right = ({(row.name, row.about): row for row in metric_rows(_figures(own))} for own in (challenger, champion))
    return [
        Pair(
            name=key[0],
            about=key[1],
            meaning=(left.get(key) or right[key]).meaning,
            challenger=left.get(key),
            champion=right.get(key),
        )
        for key in {**left, **right}
    ]


def _figures(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(_CURVES)}
