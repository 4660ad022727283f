"""Options that every verb shares. Knows how values arrive on the command line, not what they mean."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from focus_core import log


def _configure_logging(verbose: bool) -> bool:
    log.configure("%(levelname).1s %(name)s: %(message)s")
    logging.getLogger("focus_core").setLevel(logging.DEBUG if verbose else logging.WARNING)
    # The one long command says which step it is at, asked or not.
    logging.getLogger("focus_core.steps.run").setLevel(logging.DEBUG if verbose else logging.INFO)
    return verbose


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting; the value is YAML, a dotted key reaches into a nested setting. Repeatable.",
    ),
]
SettingsFile = Annotated[
    str | None,
    typer.Option("--settings", metavar="FILE.yaml", help="Settings from a YAML file; --set overrides it."),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="PATH", help="Write the summary as JSON; '-' writes it to standard output."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="Say what is being done.", callback=_configure_logging, is_eager=True),
]
CampaignFile = Annotated[str, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")]
