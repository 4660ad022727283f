"""The gate: which thresholds a challenger passes and fails, given its metrics and the champion's.

Pure arithmetic on names and numbers; knows neither MLflow nor models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says of one threshold."""

    metric: str
    """Name of the metric."""
    asked: str
    """The threshold, in words."""
    value: float | None
    """The challenger's; ``None`` where it was not logged."""
    champion: float | None
    """The champion's, likewise."""
    failure: str | None
    """A sentence if the threshold is failed."""
    judged: bool = True
    """Whether there was anything to judge."""


def judge(
    metrics: Mapping[str, float],
    champion: Mapping[str, float] | None,
    *,
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    not_below_champion_by: Mapping[str, float],
) -> tuple[Verdict, ...]:
    """Return a verdict for each threshold; the gate is passed if none is failed.

    A metric that is not a number fails whatever is asked of it.

    Parameters
    ----------
    metrics
        Metrics of the challenger on gate plots.
    champion
        Metrics of the present champion on gate plots; ``None`` without one.
    at_least
        Smallest values that pass; a metric that was not logged fails.
    at_most
        Largest values that pass; a metric that was not logged is not judged.
    not_below_champion_by
        How far a metric may fall behind the champion's; not judged where the champion has no such metric.
    """
    found = metrics, champion or {}
    verdicts = [*_at_least(*found, at_least), *_at_most(*found, at_most), *_not_below(*found, not_below_champion_by)]
    return tuple(verdicts)


def _at_least(
    metrics: Mapping[str, float], champion: Mapping[str, float], thresholds: Mapping[str, float]
) -> Iterator[Verdict]:
    for name, least in thresholds.items():
        value, failure = metrics.get(name), None
        if value is None:
            failure = f"{name} was not logged, at least {least:g} is asked; run 'evaluate' first"
        elif not value >= least:
            failure = f"{name} is {value:.6g}, at least {least:g} is asked"
        asked = f"at least {least:g}"
        yield Verdict(metric=name, asked=asked, value=value, champion=champion.get(name), failure=failure)


def _at_most(
    metrics: Mapping[str, float], champion: Mapping[str, float], thresholds: Mapping[str, float]
) -> Iterator[Verdict]:
    for name, most in thresholds.items():
        value, failure = metrics.get(name), None
        if value is not None and not value <= most:
            failure = f"{name} is {value:.6g}, at most {most:g} is allowed"
        yield Verdict(
            metric=name,
            asked=f"at most {most:g}",
            value=value,
            champion=champion.get(name),
            failure=failure,
            judged=value is not None,
        )


def _not_below(
    metrics: Mapping[str, float], champion: Mapping[str, float], thresholds: Mapping[str, float]
) -> Iterator[Verdict]:
    for name, margin in thresholds.items():
        value, best, failure = metrics.get(name), champion.get(name), None
        if best is not None and value is None:
            failure = f"{name} was not logged, the champion has {best:.6g}; run 'evaluate' first"
        elif best is not None and value is not None and not value >= best - margin:
            failure = f"{name} is {value:.6g}, the champion's is {best:.6g}, a fall of {margin:g} is allowed"
        yield Verdict(
            metric=name,
            asked=f"at most {margin:g} below the champion's",
            value=value,
            champion=best,
            failure=failure,
            judged=best is not None,
        )
