"""What each pipeline is called with, from campaign files, the layout of a run and its settings.

Paths are those that the tasks see: whoever submits must see the shared volume under the same path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from focus_core.config import CampaignFile, RunLayout, RunSettings


def training_arguments(file: CampaignFile, layout: RunLayout, settings: RunSettings) -> dict[str, Any]:
    """Return what the training pipeline is called with."""
    own = layout.campaign(file)
    return {
        "campaign_file": str(file.path),
        "cube_uri": own.cube,
        "reference_uri": own.reference,
        "tiles_uri": own.tiles,
        "backbone_uri": layout.backbone,
        "model_uri": layout.model,
        "evaluation_uri": own.evaluation,
        "folders": [str(own.folder), str(layout.out / "models")],
        **_settings(settings, "ingest", "tile", "pretrain", "train", "evaluate", "promote"),
    }


def campaign_arguments(file: CampaignFile, layout: RunLayout, settings: RunSettings) -> dict[str, Any]:
    """Return what the campaign pipeline is called with."""
    own = layout.campaign(file)
    return {
        "campaign_file": str(file.path),
        "cube_uri": own.cube,
        "reference_uri": own.reference,
        "tiles_uri": own.tiles,
        "explanation_uri": own.explanation,
        "evaluation_uri": own.evaluation,
        "importance_uri": layout.importance,
        "report_path": own.report,
        "folders": [str(own.folder)],
        "model_uri": settings.champion,
        **_settings(settings, "ingest", "tile", "explain", "evaluate", "aggregate", "report"),
    }


def season_arguments(file: CampaignFile, flights_file: str, layout: RunLayout, settings: RunSettings) -> dict[str, Any]:
    """Return what the season pipeline is called with: a campaign to train on, and the list of flights."""
    return {
        **training_arguments(file, layout, settings),
        "flights_file": flights_file,
        "manifest_uri": layout.season,
        "folders": [str(layout.out), str(layout.campaign(file).folder), str(layout.out / "models")],
        "settings_of_season": settings.model_dump(mode="json", exclude_defaults=True),
    }


def run_name(pipeline: str, campaign: str, content: str, arguments: Mapping[str, Any]) -> str:
    """Return a name made of everything that a run depends on: the same twice is one run, whoever submits it.

    Parameters
    ----------
    pipeline, arguments
        What runs, on what.
    campaign
        Its id, for people.
    content
        Digest of the files that the arguments name.
    """
    text = json.dumps([content, arguments], sort_keys=True)
    return f"{pipeline} {campaign} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _settings(settings: RunSettings, *verbs: str) -> dict[str, Mapping[str, Any]]:
    """Return what differs from the defaults; Kubeflow cannot carry an explicit none."""
    return {
        f"settings_of_{verb}": getattr(settings, verb).model_dump(mode="json", exclude_defaults=True) for verb in verbs
    }
