"""Compiles the pipelines to the YAML that a Kubeflow server takes, and checks it. Runs nothing."""

from __future__ import annotations

from pathlib import Path

from kfp import compiler

from focus_core.errors import TargetError
from pipelines.campaign import campaign
from pipelines.check import check
from pipelines.placement import Placement
from pipelines.season import season
from pipelines.training import training

PIPELINES = {"training": training, "campaign": campaign, "season": season}


def compile_one(name: str, folder: Path, placement: Placement) -> Path:
    """Write the YAML of one pipeline and return its path; the same sources and placement give the same bytes.

    Raises
    ------
    PipelineSpecError
        If the YAML contradicts itself.
    """
    path = folder / f"{name}.yaml"
    compiler.Compiler().compile(PIPELINES[name](placement), str(path))
    check(path)
    return path


def compile_all(out: str | Path, placement: Placement) -> list[Path]:
    """Write one YAML for each pipeline.

    Raises
    ------
    TargetError
        If the folder cannot be written.
    PipelineSpecError
        If a YAML contradicts itself.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [compile_one(name, folder, placement) for name in PIPELINES]
    except OSError as error:
        raise TargetError(f"'{folder}' cannot be written: {error}; choose another --out") from error
