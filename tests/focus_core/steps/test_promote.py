from pathlib import Path

import pytest

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.errors import MissingInputError, RegistryError
from focus_core.model import BackboneReference, save_model
from focus_core.steps.promote import promote

PASSING = {"gate.balanced_accuracy": 0.8, "gate.null_share": 0.01, "gate.ece": 0.1}


@pytest.fixture
def trained(registry, small_model, tmp_path):
    """A registered model folder that nobody has evaluated."""
    with tracking.logged_run("focus", parameters={}, tags={}, inputs={}) as run:
        model = small_model()
        reference = BackboneReference(uri="backbone", sha256="0" * 64, kind="random")
        model.spec = model.spec.model_copy(update={"backbone": reference, "run_id": run.run_id})
        folder = tmp_path / "model"
        folder.mkdir()
        save_model(model, folder)
        tracking.log_model(folder, run_id=run.run_id, name="focus")
    return folder, run


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


def test_what_was_never_registered_is_refused(trained, small_model, tmp_path: Path):
    folder = tmp_path / "loose"
    folder.mkdir()
    save_model(small_model(), folder)
    with pytest.raises(RegistryError, match="is no registered version of 'focus'; run 'train' first"):
        promote(str(folder), settings=PromoteSettings())
    with pytest.raises(MissingInputError, match=r"holds no focus\.json"):
        promote(str(tmp_path / "absent"), settings=PromoteSettings())
