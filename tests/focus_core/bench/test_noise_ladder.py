from pathlib import Path

import numpy as np
import pytest
import torch

from focus_core.bench import noise_ladder
from focus_core.bench.chart import draw_scores
from focus_core.bench.planted import plant
from focus_core.config import BackboneSettings

SMALL = noise_ladder.Size((80, 20, 40), BackboneSettings(width=24, depth=2, heads=2), pretrain_epochs=1, epochs=4)

MEASURES = ("balanced_accuracy", "band_iou_of_ceiling", "band_iou_of_ceiling_worst", "spatial_auc", "sink_share")


def test_noise_is_what_was_asked_for_and_everything_else_stays() -> None:
    clean, noisy = (plant(4, windows=(40, 8, 8), seed=1, noise=noise) for noise in (0.0, 0.02))
    assert torch.equal(clean.train.label, noisy.train.label)
    np.testing.assert_array_equal(clean.reference, noisy.reference)
    np.testing.assert_array_equal(clean.test_mask, noisy.test_mask)
    deviation = (noisy.train.reflectance - clean.train.reflectance).std(dim=(0, 2, 3))
    # 10240 pixels a band: a standard deviation is known to 0.7 %.
    assert deviation.mean() == pytest.approx(0.02, rel=0.02)
    assert deviation[0] == pytest.approx(0.04, rel=0.04)
    assert deviation[60] == pytest.approx(0.01, rel=0.04)


def test_the_ladder_has_every_row_at_every_level_and_noise_hides_what_is_planted(tmp_path: Path) -> None:
    values = noise_ladder.run([0], noise=(0.0, 0.3), size=SMALL)
    assert set(values) == {
        *(f"{row}.{measure}.{level}" for row in noise_ladder.SINKS for measure in MEASURES for level in ("000", "300")),
        *(f"linear_head.balanced_accuracy.{level}" for level in ("000", "300")),
    }
    assert all(np.isfinite(found).all() and len(found) == 1 for found in values.values())
    for row in noise_ladder.SINKS:
        assert values[f"{row}.spatial_auc.000"][0] > values[f"{row}.spatial_auc.300"][0] + 0.1
    assert values["sink_on.sink_share.000"][0] > 0.0
    assert values["sink_off.sink_share.000"] == [0.0]
    draw_scores(values, {}, str(tmp_path / "noise.png"), noise_ladder.LABELS)
    assert (tmp_path / "noise.png").stat().st_size > 10_000
