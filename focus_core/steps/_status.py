"""What a step leaves for whoever asks why a run ended: its state, and its reason where it failed.

Its lines in the log bear its name and its campaign. A record is left only where the variable ``FOCUS_STATUS`` names a
folder, as the pipelines do, and the target is local; a step called from Python leaves nothing.
A killed step cannot say anything: its record still says that it runs.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal, ParamSpec

from pydantic import Field

from focus_core import log
from focus_core.config import Settings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import local_path
from focus_core.cubes.remote import is_remote
from focus_core.errors import FocusError, TargetError

P = ParamSpec("P")

_VARIABLE = "FOCUS_STATUS"

logger = logging.getLogger(__name__)


class Status(Settings):
    """State of a step at one target."""

    verb: str
    """Name of the step."""
    state: Literal["running", "done", "failed"]
    """``running`` after the run has ended: the step was killed."""
    started: float
    """Unix time, s."""
    seconds: float = 0.0
    """Time spent in it, s."""
    reason: str = ""
    """Message of the error."""
    metrics: Metrics = Field(default_factory=dict)
    """What it returned, as far as it is a number."""


def recorded(beside: str) -> Callable[[Callable[P, Metrics]], Callable[P, Metrics]]:
    """Make a step leave its state in the status folder beside the target that its parameter ``beside`` names."""

    def decorate(step: Callable[P, Metrics]) -> Callable[P, Metrics]:
        signature = inspect.signature(step)

        @functools.wraps(step)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> Metrics:
            given = signature.bind(*args, **kwargs).arguments
            path = _path(str(given[beside]), step.__name__)
            with log.about(step=step.__name__, **_campaign(given)):
                if path is None:
                    return step(*args, **kwargs)
                log.adopt()
                with _written(path, Status(verb=step.__name__, state="running", started=time.time())) as figures:
                    found = step(*args, **kwargs)
                    figures.update({name: value for name, value in found.items() if math.isfinite(value)})
                    return found

        return wrapped

    return decorate


@contextmanager
def _written(path: Path, status: Status) -> Iterator[Metrics]:
    """Write and tell what becomes of a step; what it finds goes into what is yielded."""
    _write(path, status)
    figures: Metrics = {}
    try:
        yield figures
    except BaseException as error:
        # The message of an error on purpose says all; a defect is known by its kind.
        reason = str(error) if isinstance(error, FocusError) else f"{type(error).__name__}: {error}"
        ended = _ended(status, "failed", reason)
        logger.error("%s: failed after %.1f s: %s", status.verb, ended.seconds, reason)  # noqa: TRY400 - it is raised
        _write(path, ended)
        raise
    ended = _ended(status, "done").model_copy(update={"metrics": figures})
    logger.info("%s: done after %.1f s", status.verb, ended.seconds)
    _write(path, ended)


def statuses(folder: str | Path) -> list[Status]:
    """Return what the steps left beside the targets in a folder, in the order in which they began."""
    found = []
    for path in local_path(folder).joinpath(os.environ.get(_VARIABLE) or "status").glob("*.json"):
        try:
            found.append(Status.model_validate_json(path.read_bytes()))
        except (OSError, ValueError) as error:
            logger.warning("'%s' is no status of a step: %s", path, error)
    return sorted(found, key=lambda status: status.started)


def _campaign(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the id of the campaign that a step works on: a run keeps its stores in a folder of that name."""
    store = given.get("cube_uri") or given.get("tiles_uri")
    return {} if store is None else {"campaign": PurePosixPath(store).parent.name}


def _path(uri: str, verb: str) -> Path | None:
    name = os.environ.get(_VARIABLE)
    if not name or uri.startswith("models:") or is_remote(uri):
        return None
    return local_path(uri).parent / name / f"{verb}.json"


def _ended(status: Status, state: Literal["done", "failed"], reason: str = "") -> Status:
    seconds = round(time.time() - status.started, 3)
    return status.model_copy(update={"state": state, "seconds": seconds, "reason": reason})


def _write(path: Path, status: Status) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(status.model_dump(mode="json"), indent=2), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise TargetError(f"'{path}' cannot be written: {error}; make its folder writable") from error
