"""Registered models of known content and known metrics."""

from collections.abc import Callable
from pathlib import Path

import pytest

from focus_core import tracking
from focus_core.model import BACKBONE_WEIGHTS, BackboneReference, Focus, save_backbone, save_model, sha256_of
from focus_core.model.weights import BACKBONE_FILE

GATE = {"gate.balanced_accuracy": 0.8, "gate.null_share": 0.01}


@pytest.fixture
def backbone_folder(small_vit: Callable[..., object], tmp_path: Path) -> Path:
    folder = tmp_path / "backbone"
    folder.mkdir()
    arguments = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 0}
    save_backbone(small_vit(), arguments, "random", folder)
    assert (folder / BACKBONE_FILE).is_file()
    return folder


@pytest.fixture
def model_folder(
    registry: Path, backbone_folder: Path, small_model: Callable[..., Focus], tmp_path: Path
) -> Callable[..., Path]:
    """Writes a model folder whose weights depend on ``shift``, with its backbone registered."""

    def build(run_id: str, shift: float = 0.0) -> Path:
        model = small_model()
        for rows in model.rows:
            rows.class_bias.data += shift
        reference = BackboneReference(
            uri=tracking.register_backbone(backbone_folder),
            sha256=sha256_of(backbone_folder / BACKBONE_WEIGHTS),
            kind="random",
        )
        model.spec = model.spec.model_copy(update={"backbone": reference, "run_id": run_id})
        folder = tmp_path / f"model-{run_id}"
        folder.mkdir()
        save_model(model, folder)
        return folder

    return build


@pytest.fixture
def register(model_folder: Callable[..., Path]) -> Callable[..., int]:
    """Trains nothing: logs a run with metrics and registers its model; returns the version."""

    def build(metrics: dict[str, float] | None = None, *, name: str = "focus") -> int:
        with tracking.logged_run(name, parameters={}, tags={}, inputs={}) as run:
            folder = model_folder(run.run_id)
            number = tracking.log_model(folder, run_id=run.run_id, name=name)
            run.log_metrics(GATE if metrics is None else metrics)
        return number

    return build


@pytest.fixture
def gate() -> dict[str, dict[str, float]]:
    """Thresholds that ``GATE`` passes."""
    return {
        "at_least": {"gate.balanced_accuracy": 0.6},
        "at_most": {"gate.null_share": 0.05},
        "not_below_champion_by": {"gate.balanced_accuracy": 0.05},
    }
