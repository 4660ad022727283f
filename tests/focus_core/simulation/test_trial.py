from __future__ import annotations

import numpy as np
import pytest

from focus_core.config import SimulateSettings
from focus_core.simulation.layout import CLASSES
from focus_core.simulation.trial import draw_trial

SETTINGS = SimulateSettings(blocks=9, plot_px=20)


@pytest.fixture(scope="module")
def trial():
    return draw_trial(SETTINGS)


def test_stress_is_patchy_and_as_large_as_drawn(trial):
    low, high = SETTINGS.stressed_share
    for index, plot in enumerate(trial.layout.plots):
        share = (trial.severity[trial.plot == index] > 0).mean()
        if CLASSES[plot.label] == "control":
            assert share == 0.0
        else:
            assert low - 0.01 <= share <= high + 0.01
            assert 0.0 < share < 1.0


def test_patches_hang_together(trial):
    stressed = trial.severity > 0
    inside = (trial.plot[:, 1:] == trial.plot[:, :-1]) & (trial.plot[:, 1:] >= 0)
    changes = (stressed[:, 1:] != stressed[:, :-1])[inside].mean()
    assert changes < 0.15  # independent pixels would change at every second


def test_severity_differs_between_plots_and_stays_in_its_range(trial):
    strongest = [
        trial.severity[trial.plot == index].max()
        for index, plot in enumerate(trial.layout.plots)
        if CLASSES[plot.label] != "control"
    ]
    assert max(strongest) <= SETTINGS.severity[1]
    assert max(strongest) - min(strongest) > 0.2


def test_natural_variation_is_alike_in_all_classes(trial):
    label = trial.label()
    for values in trial.variation.values():
        spread = [values[label == index].std() for index in range(len(CLASSES))]
        assert min(spread) > 0.5 * SETTINGS.natural_variation
        assert max(spread) < 3.0 * SETTINGS.natural_variation


def test_another_seed_gives_another_field(trial):
    other = draw_trial(SETTINGS.model_copy(update={"seed": 1}))
    assert [p.label for p in other.layout.plots] != [p.label for p in trial.layout.plots]
    assert not np.array_equal(other.severity, trial.severity)


def test_sheets_lie_in_every_plot_only_if_asked_for(trial):
    assert not trial.sheet.any()
    planted = draw_trial(SETTINGS.model_copy(update={"collapse": True}))
    assert set(np.unique(planted.plot[planted.sheet])) == set(range(len(planted.layout.plots)))
    np.testing.assert_array_equal(planted.severity, trial.severity)


def test_artefact_falls_on_nearly_all_plots_of_its_class():
    planted = draw_trial(SimulateSettings(blocks=40, plot_px=8, shortcut_class="drought", shortcut_share=0.9))
    is_class = np.array([CLASSES[plot.label] == "drought" for plot in planted.layout.plots])
    assert 0.75 < planted.artefact[is_class].mean() <= 1.0
    assert 0.0 < planted.artefact[~is_class].mean() < 0.25
