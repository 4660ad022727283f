"""The ``focus`` command: collects the verbs. Holds no logic of a step."""

from __future__ import annotations

from typing import Annotated

import typer

from focus_core import __version__
from focus_core.cli.benches import benches
from focus_core.cli.commands import VERBS as COMMANDS
from focus_core.cli.exits import run_app
from focus_core.cli.steps import VERBS as STEPS

app = typer.Typer(
    name="focus",
    help="Show which wavelengths told a frozen Vision Transformer so.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for step in STEPS:
    app.command(rich_help_panel="Steps")(step)
for command in COMMANDS:
    app.command(rich_help_panel="Commands")(command)

app.add_typer(benches, name="bench", rich_help_panel="Commands")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"focus {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command."""
    run_app(app, "focus")
