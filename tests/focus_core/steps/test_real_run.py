"""The main job on a real scene: raw MATLAB files to a champion and per-plot curves."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from focus_core import tracking
from focus_core.config import PretrainSettings, TrainSettings
from focus_core.config.run import RunLayout, RunSettings, read_campaigns
from focus_core.steps.run import run

SALINAS = Path(__file__).parents[2] / "campaigns" / "salinas_a.yaml"


@pytest.mark.services
@pytest.mark.timeout(900)
def test_salinas_a_runs_from_its_files_to_curves_that_add_up(real_data: Path, registry: Path, tmp_path: Path) -> None:
    settings = RunSettings(
        pretrain=PretrainSettings(epochs=1, max_tiles=120), train=TrainSettings(epochs=6, augmented_copies=0)
    )
    metrics = run(read_campaigns([str(SALINAS)]), RunLayout.below(tmp_path), settings)
    assert metrics["salinas-a.evaluate.test.window_balanced_accuracy"] > 0.6
    assert metrics["salinas-a.evaluate.swap_other_evidence"] == 0.0
    assert tracking.champion("focus") == 1
    found = xr.open_zarr(tmp_path / "importance.zarr")
    assert found["cls"].to_numpy().tolist()[:2] == ["broccoli", "corn"]
    explained = found.isel(campaign=0, plot=np.flatnonzero(found["present"].isel(campaign=0)))
    total = explained["importance"].sum("band") + explained["bias"]
    np.testing.assert_allclose(total, explained["logit"], atol=1e-4)
    assert (tmp_path / "salinas-a" / "report.html").stat().st_size > 1e6
