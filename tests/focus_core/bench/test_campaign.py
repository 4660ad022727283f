from pathlib import Path

import numpy as np
import pytest

from focus_core.bench import campaign
from focus_core.bench.noise import write_model, write_tiles
from focus_core.config import ExplainSettings

SIDE_PX = 32


def test_a_generated_campaign_is_explained_and_every_share_of_its_cost_is_measured(tmp_path: Path) -> None:
    tiles = write_tiles(tmp_path / "tiles.zarr", tiles=6, side_px=SIDE_PX)
    model = write_model(tmp_path, "vit_tiny_patch16_224", side_px=SIDE_PX, classes=4)
    settings = ExplainSettings(tiles_per_shard=2, batch_tiles=2)
    (row,) = campaign.throughput(model, tiles, settings, repeats=1, warm_up_uri=tiles)
    assert set(row) == {"throughput", "throughput_cpu", "reading_share", "writing_share"}
    assert all(0 < value < 5 for value in row.values())
    cost = campaign.explained(model, tiles, settings)
    assert cost.seconds > 0
    assert cost.peak_mb > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone", "focus", "tiles.zarr"]


@pytest.mark.services
@pytest.mark.timeout(600)
def test_every_figure_has_its_name_and_its_repeats(tmp_path: Path) -> None:
    values = campaign.run(folder=str(tmp_path), tiles=4, side_px=SIDE_PX, repeats=2)
    wanted = {f"{key}.x{area}" for key in ("tile_seconds", "tile_cpu", "peak_mb") for area in campaign.AREAS}
    wanted |= {f"{name}_over_x1" for name in wanted if not name.endswith(".x1")} | {
        "two_workers",
        "further_tile_growth",
    }
    stages = ("throughput", "throughput_cpu", "reading_share", "writing_share")
    wanted |= {f"{stage}.{name}" for stage in stages for name in campaign.MODELS}
    assert set(values) == wanted
    assert set(campaign.TARGETS) <= wanted
    assert all(len(found) == 2 and np.isfinite(found).all() for found in values.values())
