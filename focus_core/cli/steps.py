"""The verbs of the chain: each parses its arguments, calls its step and shows the metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from focus_core.cli.options import CampaignFile, Json, Set, SettingsFile, Verbose
from focus_core.cli.settings import read_settings
from focus_core.cli.summary import emit

CubeUri = Annotated[str, typer.Argument(help="cube.zarr")]
ReferenceUri = Annotated[str, typer.Argument(help="reference.zarr: expert ranges and masks")]
TilesUri = Annotated[str, typer.Argument(help="tiles.zarr")]
BackboneUri = Annotated[str, typer.Argument(help="Folder of the frozen backbone.")]
ModelUri = Annotated[str, typer.Argument(help="Model folder, or models:/NAME@champion.")]
EvaluationUri = Annotated[str, typer.Argument(help="Folder of the evaluation.")]
ExplanationUri = Annotated[str, typer.Argument(help="explanation.zarr")]
ImportanceUri = Annotated[str, typer.Argument(help="importance.zarr; the campaign is merged into it.")]
ReportPath = Annotated[str, typer.Argument(metavar="REPORT.html", help="The page to write.")]


def _run_step(
    verb: str,
    uris: Sequence[str],
    settings_file: str | None,
    assignments: Sequence[str] | None,
    json_path: str | None,
) -> None:
    from focus_core import config
    from focus_core.steps.run import load_step

    kind = getattr(config, f"{verb.capitalize()}Settings")
    settings = read_settings(kind, settings_file, assignments or [])
    started = time.perf_counter()
    metrics = load_step(verb)(*uris, settings=settings)
    seconds = time.perf_counter() - started
    emit(f"focus {verb}: {seconds:.1f} s", {name: [value] for name, value in metrics.items()}, json_path)


def ingest(
    campaign_file: CampaignFile,
    cube_uri: CubeUri,
    reference_uri: ReferenceUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Read the raw files of a flight into one calibrated cube."""
    _run_step("ingest", (campaign_file, cube_uri, reference_uri), settings, assignments, json_path)


def tile(
    campaign_file: CampaignFile,
    cube_uri: CubeUri,
    tiles_uri: TilesUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Cut the plots of a cube into windows, each in the fold of its trial block."""
    _run_step("tile", (campaign_file, cube_uri, tiles_uri), settings, assignments, json_path)


def pretrain(
    tiles_uri: TilesUri,
    backbone_uri: BackboneUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Train a backbone on unlabelled tiles, without labels; it is frozen from then on."""
    _run_step("pretrain", (tiles_uri, backbone_uri), settings, assignments, json_path)


def train(
    tiles_uri: TilesUri,
    backbone_uri: BackboneUri,
    model_uri: ModelUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Train spectral prompts, sink and read-out on the frozen backbone and register the model."""
    _run_step("train", (tiles_uri, backbone_uri, model_uri), settings, assignments, json_path)


def evaluate(
    tiles_uri: TilesUri,
    model_uri: ModelUri,
    reference_uri: ReferenceUri,
    evaluation_uri: EvaluationUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Measure a model on gate and test plots, and its explanation against expert references."""
    uris = (tiles_uri, model_uri, reference_uri, evaluation_uri)
    _run_step("evaluate", uris, settings, assignments, json_path)


def promote(
    model_uri: ModelUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Make a model the champion if it passes the thresholds on the gate plots."""
    _run_step("promote", (model_uri,), settings, assignments, json_path)


def explain(
    tiles_uri: TilesUri,
    model_uri: ModelUri,
    explanation_uri: ExplanationUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Compute evidence, importance and saliency of every tile in one forward pass."""
    _run_step("explain", (tiles_uri, model_uri, explanation_uri), settings, assignments, json_path)


def aggregate(
    campaign_file: CampaignFile,
    cube_uri: CubeUri,
    explanation_uri: ExplanationUri,
    importance_uri: ImportanceUri,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Average tiles and pixels to plots and merge the campaign into the spectral-importance store."""
    uris = (campaign_file, cube_uri, explanation_uri, importance_uri)
    _run_step("aggregate", uris, settings, assignments, json_path)


def report(
    campaign_file: CampaignFile,
    cube_uri: CubeUri,
    reference_uri: ReferenceUri,
    importance_uri: ImportanceUri,
    evaluation_uri: EvaluationUri,
    report_path: ReportPath,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Write the field report: one self-contained page."""
    uris = (campaign_file, cube_uri, reference_uri, importance_uri, evaluation_uri, report_path)
    _run_step("report", uris, settings, assignments, json_path)


VERBS = (ingest, tile, pretrain, train, evaluate, promote, explain, aggregate, report)
