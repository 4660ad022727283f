from pathlib import Path

import numpy as np
import pytest

from focus_core import tracking
from focus_core.config import PromoteSettings
from focus_core.errors import MissingInputError, RegistryError, SettingsError
from focus_core.model import BackboneReference, TrainingPlots, save_model
from focus_core.steps.promote import promote
from focus_core.tracking.server import client
from tests.page import Page

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


def page_of(folder):
    return Page(folder.with_name(f"{folder.name}.promotion.html").read_text(encoding="utf-8"))


def logged_pages(run):
    return [item.path for item in client().list_artifacts(run.run_id, "promotion")]


def test_the_page_compares_challenger_and_champion_and_is_kept_with_the_run(train):
    first, run = train("first")
    run.log_metrics(PASSING)
    promote(str(first), settings=PromoteSettings())
    assert "Promoted. It took the place of nobody" in page_of(first).text
    second, run = train("second")
    run.log_metrics({"gate.balanced_accuracy": 0.9, "gate.balanced_accuracy.lo": 0.85, "gate.balanced_accuracy.hi": 1})
    tracking.log_champion(run.run_id, 1, {"gate.balanced_accuracy": 0.75, "gate.ece": 0.2})
    for _ in range(2):
        promote(str(second), settings=PromoteSettings())
    (record,) = [item for item in tracking.audit("focus") if item.to_version == 2]
    assert record.champion_metrics == {"gate.balanced_accuracy": 0.75, "gate.ece": 0.2}  # not those of its training
    page = page_of(second)
    assert "Promoted. It took the place of version 1" in page.text
    assert "Both models were scored on the same gate plots" in page.text
    assert "balanced_accuracy 0.9 (0.85–1) 0.75 +0.15" in page.text
    assert "gate.balanced_accuracy at most 0.05 below the champion's 0.9 0.75 passes" in page.text
    assert "gate.null_share at most 0.05 not logged not logged not judged" in page.text
    assert record.digest() in page.text
    assert set(record.digests.values()) <= set(page.texts)
    assert logged_pages(run) == ["promotion/0002.html"]
    kept = client().download_artifacts(run.run_id, "promotion/0002.html")
    assert Path(kept).read_text(encoding="utf-8") == (second.with_name("second.promotion.html")).read_text("utf-8")


def test_a_refusal_and_its_override_have_a_page_each(train):
    folder, run = train()
    run.log_metrics({"gate.balanced_accuracy": 0.4})
    with pytest.raises(RegistryError, match="fails the gate"):
        promote(str(folder), settings=PromoteSettings())
    page = page_of(folder)
    assert "Refused. There is still no champion" in page.text
    assert "gate.balanced_accuracy is 0.4, at least 0.6 is asked" in page.text
    promote(str(folder), settings=PromoteSettings(override_reason="the only model of this sensor"))
    page = page_of(folder)
    assert "Promoted in spite of the gate. It took the place of nobody" in page.text
    assert "Reason given: the only model of this sensor" in page.text
    assert logged_pages(run) == ["promotion/0001.html", "promotion/0002.html"]


def test_a_champion_that_was_not_scored_on_the_same_plots_is_said_so(train, caplog):
    for name in ("first", "second"):
        folder, run = train(name)
        run.log_metrics(PASSING)
        promote(str(folder), settings=PromoteSettings())
    assert "Not on the same plots" in page_of(folder).text
    assert "run 'evaluate' before 'promote'" in caplog.text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "x'; DROP TABLE runs; --", "../../x", "$(touch x)"])
def test_hostile_words_stay_words_and_hostile_names_are_refused(hostile, train, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", hostile)
    folder, run = train()
    run.log_metrics({"gate.balanced_accuracy": 0.4})
    reason = f"{hostile} was asked for"
    promote(str(folder), settings=PromoteSettings(at_least={f"gate.{hostile}": 1.0, **PASSING}, override_reason=reason))
    page = page_of(folder)
    assert not [tag for tag, _ in page.elements if tag in {"script", "img"}]
    assert reason in page.text
    assert f"asked by {hostile}" in page.text
    assert "script-src 'none'" in next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs)
    with pytest.raises(ValueError, match="model_name"):
        PromoteSettings(model_name=hostile)
    with pytest.raises(SettingsError, match="is no model name"):
        tracking.promote(hostile, 1, at_least={}, at_most={}, not_below_champion_by={})
    with pytest.raises(SettingsError, match=r"names no model|is no model name"):
        promote(f"models:/{hostile}@champion", settings=PromoteSettings())
    assert tracking.champion("focus") == 1  # the tables are still there
