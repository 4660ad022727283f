"""What ``focus run`` and ``python -m pipelines run`` share: their options, what precedes the steps and what follows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from focus_core import log
from focus_core.cli.settings import read_settings
from focus_core.cli.summary import emit, print_table

if TYPE_CHECKING:
    from focus_core.config import CampaignFile, RunLayout, RunSettings

Campaigns = Annotated[list[str], typer.Argument(metavar="CAMPAIGN.yaml...", help="Campaign files.")]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of everything that is written.")]
Fit = Annotated[
    bool, typer.Option("--train/--no-train", help="Train on the first campaign, or use the present champion.")
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        metavar="URI",
        help="MLflow: sqlite:///PATH or http(s)://…; without it $MLFLOW_TRACKING_URI.",
    ),
]
Chain = Callable[["list[CampaignFile]", "RunLayout", "RunSettings"], dict[str, float]]
"""Runs the steps and returns ``<campaign>.<verb>.<metric>`` and ``<campaign>.<verb>.seconds``."""


def whole_run(
    title: str,
    chain: Chain,
    campaigns: Sequence[str],
    out: str,
    tracking: str | None,
    settings_file: str | None,
    assignments: Sequence[str] | None,
    json_path: str | None,
) -> None:
    """Check settings and campaign files, run the steps, then show the metrics and where the results are.

    Beside the metrics of the steps stand ``run.seconds``, and ``run.between_steps``, the share of them that no step
    took.

    Raises
    ------
    FocusError
        Before the first step where a setting or a campaign file is wrong, else as the steps raise it.
    """
    from focus_core.config import RunLayout, RunSettings, read_campaigns

    settings = read_settings(RunSettings, settings_file, assignments or [])
    layout, files = RunLayout.below(out), read_campaigns(campaigns)
    reports = [layout.campaign(file).report for file in files]
    layout.make()
    # Worker processes and the steps read the registry's place from here.
    os.environ["MLFLOW_TRACKING_URI"] = tracking or os.environ.get("MLFLOW_TRACKING_URI") or layout.tracking
    log.begin_run()
    started = time.perf_counter()
    metrics = chain(files, layout, settings)
    seconds = time.perf_counter() - started
    spent = sum(value for name, value in metrics.items() if name.endswith(".seconds"))
    values = {name: [value] for name, value in metrics.items()}
    values |= {"run.seconds": [seconds], "run.between_steps": [(seconds - spent) / seconds]}
    emit(title, values, layout.summary)
    if json_path is not None:
        emit(title, values, json_path)
    _print_seconds(f"{title}: {seconds:.1f} s; metrics in {layout.summary}", metrics, seconds - spent)
    for path in (layout.importance, *reports):
        typer.echo(path, err=True)


def _print_seconds(title: str, metrics: Mapping[str, float], between: float) -> None:
    """Show where the time went, step by step in the order of the run."""
    rows = []
    for name, value in metrics.items():
        step, _, metric = name.rpartition(".")
        if metric == "seconds":
            campaign, _, verb = step.rpartition(".")
            rows.append((campaign, verb, f"{value:.1f}"))
    print_table(title, ("campaign", "step", "seconds"), [*rows, ("", "between steps", f"{between:.1f}")])
