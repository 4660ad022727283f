"""``python -m pipelines``: compile the pipelines, run them here, submit them, or watch for new flights."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focus_core import log
from focus_core.cli.exits import run_app
from focus_core.cli.options import Json, Set, SettingsFile
from focus_core.cli.settings import read_settings
from focus_core.cli.whole_run import Campaigns, Fit, Out, Tracking, whole_run
from focus_core.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.ledger import Ledger
    from pipelines.server import Server
    from pipelines.watch import Round

PlacementFile = Annotated[
    str | None,
    typer.Option("--placement", metavar="FILE.yaml", help="Images, resources, nodes, secrets, volume and time limits."),
]
ServerAddress = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", envvar="FOCUS_KUBEFLOW", help="Kubeflow's API server."),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", help="Your profile's namespace, on a Kubeflow for several users.")
]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("compile")
def compile_(
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the YAML files.")],
    placement: PlacementFile = None,
) -> None:
    """Write the pipelines as YAML for a Kubeflow server."""
    from pipelines.compile import compile_all
    from pipelines.placement import read_placement

    for path in compile_all(out, read_placement(placement)):
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
    placement: PlacementFile = None,
) -> None:
    """Run the training pipeline on the first campaign and the campaign pipeline on each, without a cluster."""
    from pipelines.local import run as run_pipelines
    from pipelines.placement import read_placement

    chain = functools.partial(run_pipelines, fit=fit, placement=read_placement(placement))
    whole_run("pipelines run", chain, campaigns, out, tracking, settings, assignments, json_path)


@app.command()
def submit(
    pipeline: Annotated[str, typer.Argument(help="training, campaign or season.")],
    campaign: Annotated[
        str, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign; of a season the labelled one.")
    ],
    out: Out,
    server: ServerAddress = None,
    namespace: Namespace = None,
    flights: Annotated[
        str | None, typer.Option("--flights", metavar="FILE", help="Of a season: a campaign file on each line.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the end and tell each change.")] = True,
    fetch: Annotated[
        str | None, typer.Option("--fetch", metavar="DIR", help="Copy the reports and status here at the end.")
    ] = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    placement: PlacementFile = None,
) -> None:
    """Submit a pipeline to a Kubeflow server. Paths are those that its tasks see, on the shared volume."""
    from focus_core.config import RunLayout, RunSettings, SeasonSettings
    from pipelines.placement import read_placement
    from pipelines.submit import Job, fetch_results, follow_run

    job = Job(
        pipeline=pipeline,
        campaign_file=campaign,
        flights_file=flights,
        layout=RunLayout.below(out),
        settings=read_settings(SeasonSettings if pipeline == "season" else RunSettings, settings, assignments or []),
    )
    at = _server(server, namespace)
    run_id = at.submit(pipeline, job.name(), job.arguments(), read_placement(placement))
    typer.echo(run_id)
    if follow or fetch:
        follow_run(at, run_id, functools.partial(typer.echo, err=True))
    if fetch:
        for path in fetch_results(job, Path(fetch)):
            typer.echo(path, err=True)


@app.command()
def watch(
    folder: Annotated[
        str, typer.Argument(help="Where flights arrive, a folder or s3://…; every campaign.yaml below it is one.")
    ],
    out: Out,
    server: ServerAddress = None,
    namespace: Namespace = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, as a recurring run does.")] = False,
    every: Annotated[float, typer.Option("--every", min=1.0, help="Seconds between two looks.")] = 60.0,
    settle: Annotated[
        float, typer.Option("--settle", min=0.0, help="Seconds for which no file of a flight may have changed.")
    ] = 120.0,
    marker: Annotated[
        str | None, typer.Option("--marker", help="File that the uploader leaves last; then nothing is waited for.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try flights that failed once more.")] = False,
    ledger: Annotated[
        str | None,
        typer.Option("--ledger", envvar="FOCUS_LEDGER", help="Database URL; without it MLflow's own database."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=0, max=65535, help="Show Prometheus metrics of the watcher on this port."),
    ] = None,
    tracking: Tracking = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    placement: PlacementFile = None,
) -> None:
    """Start the campaign pipeline for each new flight, once: at a Kubeflow server, or on this machine without one."""
    from focus_core.config import RunLayout, RunSettings
    from pipelines.placement import read_placement
    from pipelines.watch import AtServer, Here, look, serve

    log.configure("%(asctime)s %(levelname).1s %(message)s")
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    layout, chosen = RunLayout.below(out), read_settings(RunSettings, settings, assignments or [])
    layout.make()
    os.environ["MLFLOW_TRACKING_URI"] = tracking or os.environ.get("MLFLOW_TRACKING_URI") or layout.tracking
    place = read_placement(placement)
    runner = AtServer(_server(server, namespace), layout, chosen, place) if server else Here(layout, chosen)
    book = _ledger(ledger)
    how = {"settle_s": settle, "marker": marker, "failed_too": retry_failed, "copies": layout.incoming}
    step: Callable[[], Round] = functools.partial(look, folder, book, runner, **how)
    if metrics_port is not None:
        step = _exposed(step, metrics_port)
    serve(step, every_s=None if once else every)


@app.command()
def schedule(
    flights: Annotated[int, typer.Option(min=1, help="Flights of the season, all there at the start.")] = 1000,
    nodes: Annotated[str, typer.Option(metavar="N,N…", help="Numbers of nodes to compare.")] = "1,4,16",
    summary: Annotated[
        str | None, typer.Option(metavar="FILE", help="summary.json of a run: its campaigns say what a flight takes.")
    ] = None,
    flight_s: Annotated[float, typer.Option(min=0.0, help="Seconds of a flight, without --summary.")] = 120.0,
    gpu_s: Annotated[float, typer.Option(min=0.0, help="Those of them on a GPU, without --summary.")] = 0.0,
    merge_s: Annotated[float, typer.Option(min=0.0, help="Seconds of a merge into the shared store.")] = 0.3,
    per_flight_ms: Annotated[float, typer.Option(min=0.0, help="Added to it by each flight that is there, ms.")] = 2.0,
    json_path: Json = None,
) -> None:
    """Tell on paper what a season takes: pods, hours on so many nodes, GPU hours. infra/SCALING.md uses it."""
    from focus_core.cli.summary import emit
    from pipelines.schedule import Season, measured, planned

    if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", nodes):
        raise SettingsError(f"--nodes is '{nodes}'; give whole numbers from 1, with commas")
    if summary is not None:
        flight_s, gpu_s = measured(summary)
    season = Season(flights=flights, flight_s=flight_s, gpu_s=gpu_s, merge_s=merge_s, per_flight_s=per_flight_ms / 1000)
    found = planned(season, [int(count) for count in nodes.split(",")])
    emit("a season on paper", {name: [value] for name, value in found.items()}, json_path)


def _server(address: str | None, namespace: str | None) -> Server:
    from pipelines.server import Server

    if not address:
        raise SettingsError("no Kubeflow server is named: give --server URL or set FOCUS_KUBEFLOW")
    return Server(address, namespace=namespace, token=os.environ.get("FOCUS_KUBEFLOW_TOKEN"))


def _exposed(step: Callable[[], Round], port: int) -> Callable[[], Round]:
    from pipelines.exposed import Exposed

    exposed = Exposed()
    logging.getLogger(__name__).info("metrics are shown on port %d", exposed.serve(port))
    return exposed.counted(step)


def _ledger(url: str | None) -> Ledger:
    from pipelines.ledger import Ledger

    place = url or os.environ["MLFLOW_TRACKING_URI"]
    if place.startswith("http"):
        raise SettingsError(
            "MLflow is reached through a server, whose database is not open to the watcher: give --ledger URL or set "
            "FOCUS_LEDGER, e.g. to the same PostgreSQL"
        )
    return Ledger(place)


if __name__ == "__main__":
    run_app(app, "pipelines")
