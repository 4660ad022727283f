"""Turns errors into exit codes: 2 where the user can mend the input; a defect of ours exits 1 with its traceback."""

from __future__ import annotations

import sys

import typer

from focus_core.errors import FocusError

USER_ERROR = 2


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command line; a `FocusError` becomes a message on standard error, an interrupt exits 130."""
    try:
        app()
    except FocusError as error:
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(USER_ERROR)
