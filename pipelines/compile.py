"""Compiles the pipelines to the YAML that a Kubeflow server takes. Runs nothing."""

from __future__ import annotations

from pathlib import Path

from kfp import compiler

from focus_core.errors import TargetError
from pipelines.campaign import campaign
from pipelines.training import training

PIPELINES = {"training": training, "campaign": campaign}


def compile_all(out: str | Path) -> list[Path]:
    """Write one YAML for each pipeline; the same sources give the same bytes.

    Raises
    ------
    TargetError
        If the folder cannot be written.
    """
    folder, written = Path(out), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, pipeline in PIPELINES.items():
            path = folder / f"{name}.yaml"
            compiler.Compiler().compile(pipeline, str(path))
            written.append(path)
    except OSError as error:
        raise TargetError(f"'{folder}' cannot be written: {error}; choose another --out") from error
    return written
