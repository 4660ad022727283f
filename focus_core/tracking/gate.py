"""The gate: which thresholds a challenger fails, given its metrics and the champion's.

Pure arithmetic on names and numbers; knows neither MLflow nor models.
"""

from __future__ import annotations

from collections.abc import Mapping


def failed_thresholds(
    metrics: Mapping[str, float],
    champion: Mapping[str, float] | None,
    *,
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    not_below_champion_by: Mapping[str, float],
) -> tuple[str, ...]:
    """Return a sentence for each threshold that is failed; none means that the gate is passed.

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
    failed = []
    for name, least in at_least.items():
        value = metrics.get(name)
        if value is None:
            failed.append(f"{name} was not logged, at least {least:g} is asked; run 'evaluate' first")
        elif not value >= least:
            failed.append(f"{name} is {value:.6g}, at least {least:g} is asked")
    for name, most in at_most.items():
        value = metrics.get(name)
        if value is not None and not value <= most:
            failed.append(f"{name} is {value:.6g}, at most {most:g} is allowed")
    for name, margin in not_below_champion_by.items():
        value, best = metrics.get(name), (champion or {}).get(name)
        if best is None:
            continue
        if value is None:
            failed.append(f"{name} was not logged, the champion has {best:.6g}; run 'evaluate' first")
        elif not value >= best - margin:
            failed.append(f"{name} is {value:.6g}, the champion's is {best:.6g}, a fall of {margin:g} is allowed")
    return tuple(failed)
