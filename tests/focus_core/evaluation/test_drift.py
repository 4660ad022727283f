"""Plots as a model carries them and as a flight shows them are measured alike; what moves between them is found."""

import numpy as np
import pytest

from focus_core.batches import of_fold
from focus_core.evaluation import drift_of_flight, drift_of_training, training_plots
from focus_core.explanation import explain_tiles
from tests.focus_core.steps.planted import tiles


@pytest.fixture
def carried(small_model):
    """A model that nobody trained, with the plots of the planted campaign."""
    model = small_model()
    model.spec = model.spec.model_copy(update={"training_plots": training_plots(model, tiles())})
    return model


def flown(model, *, darker=0.0):
    flight = tiles(plots=60, seed=11)
    flight["reflectance"][:, :3] -= darker
    return drift_of_flight(model.spec, flight, explain_tiles(model, flight, np.arange(flight.sizes["tile"])))


def test_the_plots_of_training_and_validation_are_carried_in_the_models_unit(carried):
    data, plots = tiles(), carried.spec.training_plots
    assert plots.class_counts == (18, 18, 18)  # of 90 plots three in five
    assert len(plots.sink_share) == len(of_fold(data, "validation")) / 2 == 18
    reflectance = np.array(plots.reflectance)
    assert reflectance.shape == (54, 4)
    own = data["reflectance"].isel(tile=np.flatnonzero(data["plot"] == "P01"), band=slice(3, 6))
    assert reflectance[1, 1] == pytest.approx(float(own.mean()), abs=1e-6)


def test_light_that_moved_is_an_alarm_and_light_that_did_not_is_none(carried):
    assert flown(carried)["spectrum_p"] > 0.05
    moved = flown(carried, darker=0.05)
    assert moved["spectrum_p"] < 1e-6
    assert moved["spectrum"] > 0.7
    assert moved["alarms"] >= 1


def test_a_model_that_carries_no_plots_or_other_groups_is_not_compared(carried, small_model):
    bare = small_model()
    assert flown(bare) == {}
    assert drift_of_training(bare.spec, carried.spec) == drift_of_training(carried.spec, bare.spec) == {}
    other = carried.spec.model_copy(update={"classes": ("control", "drought", "rust")})
    assert drift_of_training(other, carried.spec) == {}
    assert drift_of_training(carried.spec, carried.spec)["alarms"] == 0
