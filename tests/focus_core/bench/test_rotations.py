from pathlib import Path

import pytest

from focus_core.bench import rotations
from focus_core.config import SimulateSettings
from focus_core.errors import SettingsError
from focus_core.simulation import simulate


def test_more_than_one_campaign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="rotations are of one campaign, 2 are given"):
        rotations.run(["a.yaml", "b.yaml"], folder=str(tmp_path), seeds=(1,))


@pytest.mark.services
@pytest.mark.timeout(900)
def test_each_rotation_gives_a_value_and_trains_on_other_plots(tmp_path: Path, registry: Path) -> None:
    simulate(str(tmp_path / "field"), settings=SimulateSettings(blocks=8))
    campaign = str(tmp_path / "field" / "flight-1" / "campaign.yaml")
    found = rotations.run([campaign], folder=str(tmp_path / "out"), seeds=(1, 2))
    assert [len(values) for values in found.values()].count(2) > 20
    assert found["swap_other_evidence"] == [0.0, 0.0]
    assert found["chance.test.balanced_accuracy"] == [0.25, 0.25]
    assert all(0.25 < value <= 1.0 for value in found["linear_head.test.balanced_accuracy"])
    digests = {
        (tmp_path / "out" / "bench" / f"rotation-{seed}" / "tiles.zarr" / "zarr.json").read_text() for seed in (1, 2)
    }
    assert len(digests) == 2
