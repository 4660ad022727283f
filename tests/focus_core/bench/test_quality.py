from pathlib import Path

import numpy as np
import pytest

from focus_core.bench import quality
from focus_core.bench.chart import draw_scores
from focus_core.config import SimulateSettings, TrainSettings

STRESSES = ("low_nitrogen", "drought", "disease")


@pytest.mark.services
@pytest.mark.timeout(1100)
def test_a_reduced_run_measures_every_row_and_what_must_hold_holds(tmp_path: Path) -> None:
    values = quality.run(
        [3],
        groups=("uniform:200", "agronomic"),
        simulation=SimulateSettings(blocks=10, bands=60, plot_px=24),
        training=TrainSettings(epochs=6, augmented_copies=1, prompt_seeds=2),
        prompt_cam_epochs=1,
    )
    rows = ("focus", "focus_one_prompt_seed", "focus_sink_off", "focus_random", "agronomic.focus")
    wanted = {
        "agronomic.focus_split.groups",
        "focus.read_depth",
        *(f"{row}.{score}.{name}" for row in rows for score in ("band_iou", "spatial_auc") for name in STRESSES),
        *(f"{row}.{score}" for row in rows for score in ("balanced_accuracy", "ablation_rank", "stability_0.01")),
        *(f"{rival}.band_iou.drought" for rival in ("gradcam", "eigencam", "ablation", "pls_vip", "forest")),
        *(f"{rival}.spatial_auc.drought" for rival in ("gradcam", "eigencam", "occlusion", "rollout")),
        *quality.TARGETS,
    }
    assert wanted <= set(values)
    assert all(np.isfinite(found).all() and len(found) == 1 for found in values.values())
    assert values["withheld.largest_change"] == [0.0]
    assert values["withheld.bands_in_a_group"] == [0.0]
    assert values["focus.ablation_rank"][0] > 0.6
    assert values["shuffled_labels.balanced_accuracy"][0] < 0.6
    draw_scores(values, quality.TARGETS, str(tmp_path / "quality.png"))
    assert (tmp_path / "quality.png").stat().st_size > 10_000
