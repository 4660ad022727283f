"""The verbs that are no step of the chain: a simulated trial, a whole run, the registry, and what was published."""

from __future__ import annotations

import functools
import os
import time
from typing import Annotated

import typer

from focus_core.cli.export import export
from focus_core.cli.options import Json, Set, SettingsFile, Verbose
from focus_core.cli.settings import read_settings
from focus_core.cli.summary import emit, print_table, summarise, write_json
from focus_core.cli.whole_run import Campaigns, Fit, Out, Tracking, whole_run
from focus_core.errors import FocusError, TargetError

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the registered model.")]


def simulate(
    folder: Annotated[str, typer.Argument(help="Where to write the trial.")],
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Write a simulated field trial as a drone team would deliver it: two flights over one field."""
    from focus_core.config import SimulateSettings
    from focus_core.simulation import simulate as write_trial

    chosen = read_settings(SimulateSettings, settings, assignments or [])
    started = time.perf_counter()
    metrics = write_trial(folder, settings=chosen)
    title = f"focus simulate: {time.perf_counter() - started:.1f} s, simulated data in {folder}"
    emit(title, {name: [value] for name, value in metrics.items()}, json_path)


def run(
    campaigns: Campaigns,
    out: Out,
    fit: Fit = True,
    tracking: Tracking = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Train on the first campaign, explain every campaign with the champion and write the reports.

    Writes DIR/importance.zarr, DIR/models/, and for each campaign DIR/CAMPAIGN/report.html beside its stores.
    Without --tracking and $MLFLOW_TRACKING_URI, MLflow keeps DIR/mlflow.db. Settings are those of the steps,
    under the verb: --set train.epochs=10.
    """
    from focus_core.steps.run import run as run_steps

    chain = functools.partial(run_steps, fit=fit)
    whole_run("focus run", chain, campaigns, out, tracking, settings, assignments, json_path)


def season(
    flights: Annotated[str, typer.Argument(metavar="FLIGHTS.txt", help="A campaign file on each line.")],
    out: Out,
    tracking: Tracking = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Explain every flight of a list with the champion; a bad flight costs that flight alone.

    DIR/season.json says of each flight how it went. Without --tracking and $MLFLOW_TRACKING_URI, MLflow keeps
    DIR/mlflow.db.
    """
    from focus_core.config import RunLayout, SeasonSettings
    from focus_core.steps.season import season as explain_season

    chosen = read_settings(SeasonSettings, settings, assignments or [])
    layout = RunLayout.below(out)
    layout.make()
    os.environ["MLFLOW_TRACKING_URI"] = tracking or os.environ.get("MLFLOW_TRACKING_URI") or layout.tracking
    started = time.perf_counter()
    metrics = explain_season(flights, layout.season, settings=chosen)
    title = f"focus season: {time.perf_counter() - started:.1f} s; each flight in {layout.season}"
    emit(title, {name: [value] for name, value in metrics.items()}, json_path)


def rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    model: ModelName = "focus",
    tracking: Tracking = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Return to the champion before the present one."""
    from focus_core.tracking import configure
    from focus_core.tracking import rollback as roll_back

    configure(tracking)
    record = roll_back(model, reason=reason)
    versions = {"from_version": record.from_version, "to_version": record.to_version}
    metrics = {name: [float(number)] for name, number in versions.items() if number is not None}
    emit(f"focus rollback: champion of {model}", metrics, json_path)


def audit(
    model: ModelName = "focus",
    tracking: Tracking = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Show who made which version the champion, when and why."""
    from focus_core.tracking import audit as read_trail
    from focus_core.tracking import configure

    configure(tracking)
    records = read_trail(model)
    if json_path is not None:
        found = [record.model_dump(mode="json") for record in records]
        write_json({**summarise({"records": [len(found)]}), "records": found}, json_path)
        return
    columns = ("sequence", "when", "who", "action", "outcome", "state", "from_version", "to_version", "reason")
    rows = [[getattr(record, column) for column in columns] for record in records]
    print_table(f"focus audit: {model}", columns, rows)


def verify(
    uris: Annotated[list[str], typer.Argument(metavar="URI...", help="Stores or model folders that a step wrote.")],
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Read published folders again and compare every byte with the digest recorded when they were published."""
    from focus_core.cubes.record import verify as compare

    started, faults = time.perf_counter(), []
    for uri in uris:
        try:
            compare(uri)
        except FocusError as fault:
            faults.append(str(fault))
    if faults:
        raise TargetError("\n".join(faults))
    title = f"focus verify: {time.perf_counter() - started:.1f} s; content as published"
    emit(title, {"verified": [float(len(uris))]}, json_path)


VERBS = (simulate, run, season, export, rollback, audit, verify)
