from pathlib import Path

import numpy as np
import pytest

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.errors import MissingInputError, RegistryError
from focus_core.model import BackboneReference, TrainingPlots, save_model
from focus_core.steps.promote import promote
from focus_core.tracking.server import client

PASSING = {"gate.balanced_accuracy": 0.8, "gate.null_share": 0.01, "gate.ece": 0.1}


@pytest.fixture
def train(registry, small_model, tmp_path):
    """Registers a model folder that nobody has evaluated; what its training plots were like is told."""

    def build(name="model", plots=None):
        with tracking.logged_run("focus", parameters={}, tags={}, inputs={}) as run:
            model = small_model()
            reference = BackboneReference(uri="backbone", sha256="0" * 64, kind="random")
            update = {"backbone": reference, "run_id": run.run_id, "training_plots": plots}
            model.spec = model.spec.model_copy(update=update)
            folder = tmp_path / name
            folder.mkdir()
            save_model(model, folder)
            tracking.log_model(folder, run_id=run.run_id, name="focus")
        return folder, run

    return build


@pytest.fixture
def trained(train):
    return train()


def plots(seed, brighter=0.0):
    rng = np.random.default_rng(seed)
    reflectance = (0.3 + brighter + 0.02 * rng.normal(size=(30, 4))).tolist()
    return TrainingPlots(reflectance=reflectance, class_counts=(10, 10, 10), sink_share=rng.uniform(size=30).tolist())


def test_an_evaluated_model_becomes_champion_and_a_second_call_changes_nothing(trained):
    folder, run = trained
    run.log_metrics(PASSING)
    for uri in (str(folder), str(folder), "models:/focus/1"):
        assert promote(uri, settings=PromoteSettings()) == {"promoted": 1.0, "version": 1.0}
    assert tracking.champion("focus") == 1
    assert len(tracking.audit("focus")) == 1


def test_a_model_that_was_not_evaluated_is_refused_and_can_be_overridden(trained):
    folder, _ = trained
    with pytest.raises(RegistryError, match=r"gate\.balanced_accuracy was not logged.*run 'evaluate' first"):
        promote(str(folder), settings=PromoteSettings())
    assert tracking.champion("focus") is None
    settings = PromoteSettings(override_reason="no gate plots in this trial")
    assert promote(str(folder), settings=settings)["promoted"] == 1.0
    assert [item.outcome for item in tracking.audit("focus")] == ["refused", "moved"]


def test_every_failed_threshold_is_named(trained):
    folder, run = trained
    run.log_metrics({"gate.balanced_accuracy": 0.4, "gate.null_share": 0.5, "gate.ece": 0.1})
    with pytest.raises(RegistryError) as refusal:
        promote(str(folder), settings=PromoteSettings())
    assert "gate.balanced_accuracy is 0.4, at least 0.6" in str(refusal.value)
    assert "gate.null_share is 0.5, at most 0.05" in str(refusal.value)
    assert "gate.ece" not in str(refusal.value)


def test_a_model_of_an_odd_flight_can_be_held_back_by_a_threshold_on_drift(train):
    settings = PromoteSettings(at_most={"gate.drift.alarms": 0.0})
    for name, seed, brighter in (("first", 1, 0.0), ("second", 2, 0.0)):
        folder, run = train(name, plots(seed, brighter))
        run.log_metrics(PASSING)
        promote(str(folder), settings=settings)
    assert tracking.champion("focus") == 2
    folder, run = train("odd", plots(3, brighter=0.1))
    run.log_metrics(PASSING)
    with pytest.raises(RegistryError, match=r"gate\.drift\.alarms is 1, at most 0 is allowed"):
        promote(str(folder), settings=settings)
    assert tracking.champion("focus") == 2
    logged = client().get_run(run.run_id).data.metrics
    assert logged["gate.drift.spectrum"] == 1.0
    assert logged["gate.drift.classes"] == 0.0
    assert promote(str(folder), settings=PromoteSettings())["version"] == 3.0  # by default nobody is held back


def test_a_damaged_champion_does_not_keep_its_successor_out(train, caplog):
    for name, seed in (("first", 1), ("second", 2)):
        folder, run = train(name, plots(seed))
        run.log_metrics(PASSING)
        if name == "second":
            path = tracking.fetch_model("models:/focus/1") / "focus.json"
            path.write_text(path.read_text() + " ")
        promote(str(folder), settings=PromoteSettings())
    assert tracking.champion("focus") == 2
    assert "drift is not judged" in caplog.text


def test_what_was_never_registered_is_refused(trained, small_model, tmp_path: Path):
    folder = tmp_path / "loose"
    folder.mkdir()
    save_model(small_model(), folder)
    with pytest.raises(RegistryError, match="is no registered version of 'focus'; run 'train' first"):
        promote(str(folder), settings=PromoteSettings())
    with pytest.raises(MissingInputError, match=r"holds no focus\.json"):
        promote(str(tmp_path / "absent"), settings=PromoteSettings())
