"""Runs: parameters, metrics, inputs and environment of one execution of a step.

Knows nothing of models or of their registry.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from focus_core.tracking.environment import environment
from focus_core.tracking.server import client, experiment_id, reported, user

_BATCH = 100
"""Most parameters that an MLflow server takes in one request."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Run:
    """A run that is open."""

    run_id: str
    """Its id in MLflow."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics, of one step of the training where ``step`` is given."""
        log_metrics(self.run_id, metrics, step)


@contextmanager
def logged_run(
    experiment: str,
    *,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    inputs: Mapping[str, str],
) -> Iterator[Run]:
    """Open a run, and close it as finished or failed.

    Where the orchestrator has already opened one (``MLFLOW_RUN_ID``), that one is used, and it is left to the
    orchestrator to close it.

    Parameters
    ----------
    experiment
        Name of the experiment; made where there is none.
    parameters
        Settings; nested ones are logged as ``outer.inner``.
    tags
        Short texts to search by.
    inputs
        Content digest of each input, by URI. Logged whole as ``inputs.json``, and as tags
        ``input.<last part of the URI>``.

    Yields
    ------
    Run
        The open run.

    Raises
    ------
    RegistryError
        If MLflow refuses or does not answer.
    """
    with reported(f"open a run in '{experiment}'"):
        api = client()
        borrowed = os.environ.get("MLFLOW_RUN_ID")
        run_id = borrowed or str(api.create_run(experiment_id(experiment), tags={"mlflow.user": user()}).info.run_id)
    try:
        with reported(f"describe the run {run_id}"):
            _describe(api, run_id, parameters, tags, inputs)
        yield Run(run_id)
    except BaseException:
        if not borrowed:
            with reported(f"close the run {run_id}"):
                api.set_terminated(run_id, "FAILED")
        raise
    if not borrowed:
        with reported(f"close the run {run_id}"):
            api.set_terminated(run_id, "FINISHED")


def log_metrics(run_id: str, metrics: Mapping[str, float], step: int | None = None) -> None:
    """Log metrics to a run, whether it is open or closed.

    Raises
    ------
    RegistryError
        If there is no such run, or MLflow refuses.
    """
    with reported(f"log metrics to the run {run_id}"):
        from mlflow.entities import Metric

        api = client()
        now = int(time.time() * 1000)
        values = [Metric(name, float(value), now, step or 0) for name, value in metrics.items()]
        for part in _batches(values):
            api.log_batch(run_id, metrics=part)


def has_page(run_id: str, name: str) -> bool:
    """Return whether a run keeps a page under this name, ``<folder>/<file>``."""
    with reported(f"list the pages of the run {run_id}"):
        folder = str(PurePosixPath(name).parent)
        return any(item.path == name for item in client().list_artifacts(run_id, folder))


def log_page(run_id: str, name: str, text: str) -> None:
    """Keep a page with a run, beside its other artifacts.

    Raises
    ------
    RegistryError
        If there is no such run, or MLflow refuses.
    """
    with reported(f"log the page {name} to the run {run_id}"):
        client().log_text(run_id, text, name)


def _describe(
    api: Any, run_id: str, parameters: Mapping[str, Any], tags: Mapping[str, str], inputs: Mapping[str, str]
) -> None:
    from mlflow.entities import Param, RunTag

    found = environment()
    labels = dict(tags) | {f"input.{_short(uri)}": digest for uri, digest in inputs.items()}
    if "commit" in found:
        labels["focus.commit"] = found["commit"]
    for params in _batches([Param(key, str(value)) for key, value in _flat(parameters)]):
        api.log_batch(run_id, params=params)
    for part in _batches([RunTag(key, value) for key, value in labels.items()]):
        api.log_batch(run_id, tags=part)
    api.log_dict(run_id, found, "environment.json")
    api.log_dict(run_id, dict(inputs), "inputs.json")


def _short(uri: str) -> str:
    """Return the last part of a URI, in the characters that MLflow takes in a key."""
    return re.sub(r"[^\w.\- ]", "_", PurePosixPath(uri).name, flags=re.ASCII) or "input"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), _BATCH):
        yield list(items[start : start + _BATCH])
