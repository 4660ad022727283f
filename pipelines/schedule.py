"""How long a season takes on paper: pods of its runs, hours on so many nodes, GPU hours. Runs nothing."""

from __future__ import annotations

import heapq
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from focus_core.config import SeasonSettings
from focus_core.errors import MissingInputError, SettingsError
from pipelines.placement import Placement

_STEPS = ("ingest", "tile", "explain", "evaluate", "aggregate", "report")
_ON_GPU = ("explain", "evaluate")
_PODS_OF_CHUNK = 3
"""A driver of the loop's item, a driver and an executor of its task."""


@dataclass(frozen=True, kw_only=True)
class Season:
    """Flights that are all there at the start, and what one costs."""

    flights: int
    """How many."""
    flight_s: float
    """A flight's own work, from reading to report, s."""
    gpu_s: float
    """The part of it that has a GPU, s."""
    merge_s: float
    """Merging a flight into the shared store, s; one at a time."""
    per_flight_s: float
    """What each flight that is in the store already adds to a merge, s."""


def hours(season: Season, nodes: int) -> float:
    """Return the hours of a season: each node takes the next flight, then waits for its turn to merge."""
    free = [0.0] * nodes
    store_free_s = 0.0
    for merged in range(season.flights):
        worked_s = heapq.heappop(free) + season.flight_s
        store_free_s = max(worked_s, store_free_s) + season.merge_s + season.per_flight_s * merged
        heapq.heappush(free, store_free_s)
    return max(free) / 3600


def measured(summary: str) -> tuple[float, float]:
    """Return seconds of a flight and the part that would have a GPU, as means over the campaigns of a run.

    Raises
    ------
    MissingInputError
        If there is no such summary.
    SettingsError
        If it is not the summary of a run.
    """
    try:
        metrics = json.loads(Path(summary).read_text(encoding="utf-8"))["metrics"]
        seconds = {name: float(item["mean"]) for name, item in metrics.items()}
    except FileNotFoundError as error:
        raise MissingInputError(f"'{summary}': no such summary; give the summary.json of a run") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"'{summary}' is not the summary.json of a run: {error!r}") from error
    campaigns = [name.removesuffix(".report.seconds") for name in seconds if name.endswith(".report.seconds")]
    if not campaigns:
        raise SettingsError(f"'{summary}' holds no seconds of a campaign; give the summary.json of a run")

    def mean(verbs: tuple[str, ...]) -> float:
        return sum(seconds[f"{campaign}.{verb}.seconds"] for campaign in campaigns for verb in verbs) / len(campaigns)

    return mean(_STEPS), mean(_ON_GPU)


def counted(pipeline: str) -> tuple[int, int]:
    """Return the tasks of a compiled pipeline, and the pods that Kubeflow runs for it.

    Each task has a driver and an executor, each group of tasks a driver, and a loop one of its own; a loop is counted
    with one item.
    """
    from pipelines.compile import compile_one

    with tempfile.TemporaryDirectory() as folder:
        path = compile_one(pipeline, Path(folder), Placement())
        spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    components = spec["components"]
    groups = [spec["root"], *(item for item in components.values() if "dag" in item)]
    called = [task for group in groups for task in group["dag"]["tasks"].values()]
    tasks = sum("executorLabel" in components[task["componentRef"]["name"]] for task in called)
    return tasks, 2 * tasks + len(groups) + sum("parameterIterator" in task for task in called)


def planned(season: Season, nodes: list[int]) -> dict[str, float]:
    """Return pods, hours and GPU hours of a season by name."""
    found: dict[str, float] = {"flights": float(season.flights), "flight_s": season.flight_s}
    for pipeline in ("campaign", "season"):
        tasks, pods = counted(pipeline)
        found |= {f"{pipeline}.tasks": float(tasks), f"{pipeline}.pods": float(pods)}
    found["campaign.pods_of_all"] = found["campaign.pods"] * season.flights
    chunks = math.ceil(season.flights / SeasonSettings().flights_per_chunk)
    found["season.pods_of_all"] = found["season.pods"] + _PODS_OF_CHUNK * (chunks - 1)
    found |= {f"hours.{count}_nodes": hours(season, count) for count in nodes}
    return found | {"gpu_hours": season.flights * season.gpu_s / 3600}
