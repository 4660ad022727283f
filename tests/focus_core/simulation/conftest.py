"""A tiny simulated trial, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from focus_core.config import SimulateSettings
from focus_core.simulation import simulate


@pytest.fixture(scope="session")
def tiny() -> SimulateSettings:
    """16 plots of 14 px and 42 bands, 51 nm apart."""
    pytest.importorskip("prosail", reason="needs the extra 'demo'")
    return SimulateSettings(blocks=4, plot_px=14, buffer_px=3, bands=42, window_px=12)


@pytest.fixture(scope="session")
def tiny_folder(tiny: SimulateSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "trial"
    simulate(str(folder), settings=tiny)
    return folder
