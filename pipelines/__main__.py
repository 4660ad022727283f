"""``python -m pipelines``: compile the pipelines, or run them on this machine."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from focus_core.cli.exits import run_app
from focus_core.cli.options import Json, Set, SettingsFile
from focus_core.cli.whole_run import Campaigns, Fit, Out, Tracking, whole_run

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("compile")
def compile_(out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the YAML files.")]) -> None:
    """Write the pipelines as YAML for a Kubeflow server."""
    from pipelines.compile import compile_all

    for path in compile_all(out):
        typer.echo(path)


@app.command()
def run(
    campaigns: Campaigns,
    out: Out,
    fit: Fit = True,
    tracking: Tracking = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
) -> None:
    """Run the training pipeline on the first campaign and the campaign pipeline on each, without a cluster."""
    from pipelines.local import run as run_pipelines

    chain = functools.partial(run_pipelines, fit=fit)
    whole_run("pipelines run", chain, campaigns, out, tracking, settings, assignments, json_path)


if __name__ == "__main__":
    run_app(app, "pipelines")
