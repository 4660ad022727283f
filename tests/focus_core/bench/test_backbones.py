from pathlib import Path

import pytest

from focus_core.bench import backbones
from focus_core.config import SimulateSettings
from focus_core.simulation import simulate


@pytest.mark.services
@pytest.mark.timeout(900)
def test_all_backbones_are_scored_on_the_same_plots_of_both_flights(tmp_path: Path, registry: Path) -> None:
    simulate(str(tmp_path / "field"), settings=SimulateSettings(blocks=8))
    flights = [str(tmp_path / "field" / name / "campaign.yaml") for name in ("flight-1", "flight-2")]
    found = backbones.run(flights, folder=str(tmp_path / "out"), seeds=(3,))
    for flight in ("simulated-flight-1", "simulated-flight-2"):
        for name in ("random", "self_supervised", "supervised"):
            assert found[f"{name}.{flight}.test.plots"] == found[f"random.{flight}.test.plots"]
            assert 0.0 <= found[f"{name}.{flight}.test.balanced_accuracy"][0] <= 1.0
            assert found[f"{name}.{flight}.swap_other_evidence"] == [0.0]
