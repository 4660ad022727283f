"""Each shell does what its step does: same metrics, same stores; a real pipeline run is in tests/pipelines."""

import json
from importlib import import_module

import numpy as np
import pytest
import xarray as xr
from kfp import dsl

from focus_core.config import RunLayout, read_campaigns
from focus_core.steps.run import run


def as_kubeflow_carries_it(settings):
    """Dictionaries travel as JSON doubles: 3 arrives as 3.0."""
    return json.loads(json.dumps(settings.model_dump(mode="json", exclude_defaults=True)), parse_int=float)


def shell_arguments(layout, file, champion):
    own, path = layout.campaign(file), str(file.path)
    return [
        ("ingest", {"campaign_file": path, "cube_uri": own.cube, "reference_uri": own.reference}, own.cube),
        ("tile", {"campaign_file": path, "cube_uri": own.cube, "tiles_uri": own.tiles}, own.tiles),
        ("pretrain", {"tiles_uri": own.tiles, "backbone_uri": layout.backbone}, layout.backbone),
        (
            "train",
            {"tiles_uri": own.tiles, "backbone_uri": layout.backbone, "model_uri": layout.model},
            layout.model,
        ),
        (
            "evaluate",
            {
                "tiles_uri": own.tiles,
                "model_uri": layout.model,
                "reference_uri": own.reference,
                "evaluation_uri": own.evaluation,
            },
            own.evaluation,
        ),
        ("promote", {"model_uri": layout.model}, layout.model),
        (
            "explain",
            {"tiles_uri": own.tiles, "model_uri": champion, "explanation_uri": own.explanation},
            own.explanation,
        ),
        (
            "aggregate",
            {
                "campaign_file": path,
                "cube_uri": own.cube,
                "explanation_uri": own.explanation,
                "importance_uri": layout.importance,
            },
            layout.importance,
        ),
        (
            "report",
            {
                "campaign_file": path,
                "cube_uri": own.cube,
                "reference_uri": own.reference,
                "importance_uri": layout.importance,
                "evaluation_uri": own.evaluation,
                "report_path": own.report,
            },
            own.report,
        ),
    ]


def comparable(metrics):
    """What a rerun reproduces: neither measured time nor the number of the registered version."""
    return {
        name: value
        for name, value in metrics.items()
        if not name.endswith((".seconds", ".version")) and ".cost." not in name
    }


@pytest.mark.timeout(600)
def test_shells_and_library_agree(tiny_field, tiny_settings, registry, tmp_path):
    (file,) = read_campaigns([str(tiny_field / "flight-1" / "campaign.yaml")])
    library, shells = RunLayout.below(tmp_path / "library"), RunLayout.below(tmp_path / "shells")
    expected = run([file], library, tiny_settings)
    for verb, uris, written in shell_arguments(shells, file, tiny_settings.champion):
        shell = getattr(import_module(f"components.{verb}.component"), verb)
        metrics = dsl.Metrics(uri=str(tmp_path / "metrics" / verb))
        settings = as_kubeflow_carries_it(getattr(tiny_settings, verb))
        returned = shell.python_func(**uris, settings=settings, metrics=metrics)
        assert returned == written, verb
        prefix = f"{file.campaign.campaign}.{verb}."
        found = {f"{prefix}{name}": value for name, value in metrics.metadata.items()}
        wanted = {name: value for name, value in expected.items() if name.startswith(prefix)}
        assert comparable(found) == pytest.approx(comparable(wanted), rel=1e-4, abs=1e-6), verb
    ours, theirs = (xr.open_zarr(layout.importance, consolidated=False) for layout in (library, shells))
    np.testing.assert_allclose(ours["importance"], theirs["importance"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours["plot"].to_numpy(), theirs["plot"].to_numpy())
