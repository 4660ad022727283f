"""Turns errors into exit codes: 2 where the user can mend the input; a defect of ours exits 1 with its traceback."""

from __future__ import annotations

import logging
import os
import sys

import typer

from focus_core import log
from focus_core.errors import FocusError

USER_ERROR = 2

logger = logging.getLogger(__name__)


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command line; a `FocusError` becomes a message on standard error, an interrupt exits 130."""
    try:
        log.is_json()  # a wrong word is told before anything runs
        app()
    except FocusError as error:
        if os.environ.get(log.FORMAT) == "json":
            log.configure("")  # it may not have come to that, or a library has put a handler of its own there
            log.adopt()
            logger.error("%s: %s", name, error)  # noqa: TRY400 - the message says all
        else:
            typer.echo(f"{name}: {error}", err=True)
        sys.exit(USER_ERROR)
