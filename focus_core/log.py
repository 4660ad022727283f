"""What a line of the log looks like: for people, or as JSON for a machine that collects the lines of many runs.

Knows ids and formats; does not know what is logged.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from focus_core.errors import SettingsError

FORMAT = "FOCUS_LOG"
"""Variable that chooses the format: ``json``, or ``text`` and nothing for people."""
RUN = "FOCUS_RUN"
"""Variable that holds the id of the run; Kubeflow's own on a cluster."""
_IDS = ("run", "campaign", "step")
_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "FOCUS_KUBEFLOW_TOKEN",
    "FOCUS_SMTP",
    "FOCUS_WEBHOOK",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_HIDDEN = "***"

_context: ContextVar[dict[str, str] | None] = ContextVar("focus_log", default=None)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Give each line that is logged in the block these ids: ``run``, ``campaign``, ``step``."""
    token = _context.set({**(_context.get() or {}), **ids})
    try:
        yield
    finally:
        _context.reset(token)


def begin_run(*, anew: bool = False) -> None:
    """Give this process and those that it starts an id of the run; one that is set stays, unless a run begins anew."""
    if anew or not os.environ.get(RUN):
        os.environ[RUN] = uuid.uuid4().hex[:12]


def is_json() -> bool:
    """Return whether ``FOCUS_LOG`` asks for JSON.

    Raises
    ------
    SettingsError
        If the variable holds an unknown word.
    """
    chosen = os.environ.get(FORMAT) or "text"
    if chosen not in ("json", "text"):
        raise SettingsError(f"{FORMAT} is '{chosen}'; give json, or text for people")
    return chosen == "json"


def configure(text: str) -> None:
    """Log to standard error, for people in the format ``text``.

    Raises
    ------
    SettingsError
        If ``FOCUS_LOG`` holds an unknown word.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if is_json() else _Text(text))
    logging.basicConfig(handlers=[handler])


def adopt() -> None:
    """Write JSON, where it is asked for, through the handlers of whoever started this task."""
    if is_json():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_Json())


class _Text(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        return _hidden(super().format(record))


class _Json(logging.Formatter):
    """A line of JSON: time in UTC, level, logger, message, the ids that are known, a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        found = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        known = {"run": os.environ.get(RUN, ""), **(_context.get() or {})}
        found |= {name: known[name] for name in _IDS if known.get(name)}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: _hidden(value) for name, value in found.items()}, ensure_ascii=False)


def _hidden(text: str) -> str:
    """Take out passwords in addresses, and the secrets that the environment holds."""
    for value in filter(None, map(os.environ.get, _SECRETS)):
        text = text.replace(value, _HIDDEN)
    return _IN_URL.sub(rf"\1{_HIDDEN}@", text)
