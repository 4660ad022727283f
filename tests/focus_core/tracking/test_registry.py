import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from focus_core import tracking
from focus_core.errors import ModelError, RegistryError, SettingsError
from focus_core.tracking.server import client
from focus_core.tracking.trail import append

BETTER = {"gate.balanced_accuracy": 0.9, "gate.null_share": 0.01}
WORSE = {"gate.balanced_accuracy": 0.7, "gate.null_share": 0.01}
FAILING = {"gate.balanced_accuracy": 0.5, "gate.null_share": 0.2}


def replayed(name="focus"):
    return tracking.champions(tracking.audit(name))[-1]


def test_a_version_that_passes_becomes_champion_and_is_on_record(register, gate):
    record = tracking.promote("focus", register(), **gate)
    assert tracking.champion("focus") == 1
    assert (record.from_version, record.to_version, record.outcome, record.moved) == (None, 1, "moved", True)
    assert record.metrics == {"gate.balanced_accuracy": 0.8, "gate.null_share": 0.01}
    assert len(record.digests) == 3
    assert record.who
    assert tracking.audit("focus") == [record]


def test_a_version_that_fails_is_refused_with_every_threshold_and_the_attempt_is_on_record(register, gate):
    number = register(FAILING)
    with pytest.raises(RegistryError) as refusal:
        tracking.promote("focus", number, **gate)
    assert "gate.balanced_accuracy is 0.5, at least 0.6 is asked" in str(refusal.value)
    assert "gate.null_share is 0.2, at most 0.05 is allowed" in str(refusal.value)
    assert tracking.champion("focus") is None
    (record,) = tracking.audit("focus")
    assert (record.outcome, record.moved, len(record.failed)) == ("refused", False, 2)
    assert tracking.champions([record]) == []


def test_a_metric_that_is_no_number_is_refused_and_the_trail_stays_readable(register, gate):
    number = register({"gate.balanced_accuracy": float("nan")})
    with pytest.raises(RegistryError, match=r"gate\.balanced_accuracy is nan"):
        tracking.promote("focus", number, **gate)
    assert tracking.audit("focus")[0].metrics == {}


def test_a_challenger_may_not_fall_behind_the_champion(register, gate):
    tracking.promote("focus", register(BETTER), **gate)
    number = register(WORSE)
    with pytest.raises(RegistryError, match=r"the champion's is 0\.9, a fall of 0\.05 is allowed"):
        tracking.promote("focus", number, **gate)
    assert tracking.champion("focus") == 1
    refused = tracking.audit("focus")[-1]
    assert refused.champion_metrics == BETTER
    gate["not_below_champion_by"] = {"gate.balanced_accuracy": 0.3}
    assert tracking.promote("focus", number, **gate).from_version == 1
    assert tracking.champion("focus") == 2


def test_an_override_is_kept_with_its_reason_and_what_it_overrode(register, gate):
    record = tracking.promote("focus", register(FAILING), **gate, override_reason="only model of this sensor")
    assert tracking.champion("focus") == 1
    assert record.reason == "only model of this sensor"
    assert len(record.failed) == 2


def test_promoting_the_champion_again_changes_nothing(register, gate):
    first = tracking.promote("focus", register(), **gate)
    assert tracking.promote("focus", 1, **gate) == first
    assert tracking.audit("focus") == [first]


def test_a_tampered_model_is_not_promoted(register, gate):
    number = register()
    path = tracking.fetch_model(f"models:/focus/{number}") / "focus.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="has digest"):
        tracking.promote("focus", number, **gate)
    assert tracking.audit("focus") == []


def test_rollback_returns_step_by_step_and_passes_over_what_was_deleted(register, gate):
    for metrics in (WORSE, None, BETTER, BETTER):
        tracking.promote("focus", register(metrics), **gate)
    record = tracking.rollback("focus", reason="bands swapped")
    assert (record.from_version, record.to_version, record.reason) == (4, 3, "bands swapped")
    assert tracking.champion("focus") == replayed() == 3
    tracking.delete_version("focus", 2)
    assert tracking.rollback("focus", reason="still wrong").to_version == 1
    assert tracking.champion("focus") == replayed() == 1
    with pytest.raises(RegistryError, match="no earlier champion than 1 to return to"):
        tracking.rollback("focus", reason="still wrong")
    with pytest.raises(SettingsError, match="needs a reason"):
        tracking.rollback("focus", reason="  ")
    assert [item.sequence for item in tracking.audit("focus")] == [1, 2, 3, 4, 5, 6]


def test_a_champion_and_a_backbone_in_use_are_not_deleted(register, gate):
    tracking.promote("focus", register(), **gate)
    with pytest.raises(RegistryError, match="version 1 of 'focus' is its champion; promote another"):
        tracking.delete_version("focus", 1)
    with pytest.raises(RegistryError, match="backbone version 1 carries models:/focus/1; delete those first"):
        tracking.delete_version("focus-backbone", 1)
    tracking.promote("focus", register(), **gate)
    tracking.delete_version("focus", 1)
    with pytest.raises(RegistryError, match="'focus' has no version 1"):
        tracking.delete_version("focus", 1)
    client().delete_registered_model_alias("focus", "champion")
    tracking.delete_version("focus", 2)
    tracking.delete_version("focus-backbone", 1)


def test_an_alias_moved_by_other_means_is_noticed_and_put_on_record(register, gate, caplog):
    for _ in range(2):
        register()
    tracking.promote("focus", 1, **gate)
    client().set_registered_model_alias("focus", "champion", "2")
    assert len(tracking.audit("focus")) == 1
    assert "is version 2, the audit trail says 1" in caplog.text
    tracking.rollback("focus", reason="was not ours")
    assert [item.action for item in tracking.audit("focus")] == ["promote", "outside", "rollback"]
    assert tracking.champion("focus") == replayed() == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_promotion_killed_half_way_is_settled_by_the_next(register, gate, moved):
    for _ in range(2):
        register()
    tracking.promote("focus", 1, **gate)
    append("focus", action="promote", outcome="moved", from_version=1, to_version=2)
    if moved:
        client().set_registered_model_alias("focus", "champion", "2")
    register()
    tracking.promote("focus", 3, **gate)
    states = [(item.state, item.from_version, item.to_version) for item in tracking.audit("focus")]
    assert states == [
        ("done", None, 1),
        ("done" if moved else "interrupted", 1, 2),
        ("done", 2 if moved else 1, 3),
    ]
    assert tracking.champion("focus") == replayed() == 3


def test_a_changed_or_removed_record_breaks_the_trail(register, gate):
    for _ in range(3):
        tracking.promote("focus", register(), **gate)
    api = client()
    experiment = api.get_experiment_by_name("focus-audit").experiment_id
    runs = {run.info.run_name: run.info.run_id for run in api.search_runs([experiment])}
    second = runs["focus 2: promote, moved"]
    api.delete_run(second)
    with pytest.raises(RegistryError, match="broken at record 2"):
        tracking.audit("focus")
    api.restore_run(second)
    assert len(tracking.audit("focus")) == 3
    text = api.get_run(second).data.tags["focus.record.000"]
    api.set_tag(second, "focus.record.000", text.replace("0.8", "0.9"))
    with pytest.raises(RegistryError, match="broken at record 3"):
        tracking.rollback("focus", reason="does not matter")
    api.set_tag(second, "focus.record.000", "{")
    with pytest.raises(RegistryError, match="cannot be read"):
        tracking.audit("focus")


def test_a_long_record_is_kept_whole(register, gate):
    at_least = {f"gate.metric_{index:04d}": 0.5 for index in range(300)}
    with pytest.raises(RegistryError, match="metric_0299"):
        tracking.promote("focus", register(), at_least=at_least, at_most={}, not_below_champion_by={})
    assert len(tracking.audit("focus")[0].failed) == 300


def test_promotions_and_rollbacks_of_many_threads_leave_one_champion_and_one_trail(register, gate):
    gate["not_below_champion_by"] = {}
    numbers = [register() for _ in range(3)]
    tracking.promote("focus", numbers[0], **gate)
    tracking.promote("focus", numbers[1], **gate)

    def act(index):
        if index % 4 == 3:
            try:
                return tracking.rollback("focus", reason="turn and turn about")
            except RegistryError as refusal:
                assert "no earlier champion" in str(refusal)  # noqa: PT017
                return None
        return tracking.promote("focus", numbers[index % 3], **gate)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(16)))
    trail = tracking.audit("focus")
    assert [item.sequence for item in trail] == list(range(1, len(trail) + 1))
    assert all(item.state == "done" for item in trail)
    assert [item.from_version for item in trail[1:]] == [item.to_version for item in trail[:-1]]
    assert tracking.champion("focus") == replayed()


HOLDER = """
import sys
from focus_core.tracking.server import exclusive
with exclusive():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_promotion_waits_for_another_process_and_goes_on_when_that_is_killed(register, gate):
    number = register()
    child = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child, ThreadPoolExecutor(1) as pool:
        assert child.stdout.readline() == "held\n"
        waiting = pool.submit(tracking.promote, "focus", number, **gate)
        time.sleep(0.5)
        assert tracking.champion("focus") is None
        child.kill()
        assert waiting.result(timeout=60).to_version == number
    assert tracking.champion("focus") == number


def test_a_record_that_the_client_sent_twice_counts_once(register, gate):
    """A connection that breaks after the server wrote the record makes MLflow's client send it again."""
    for _ in range(2):
        tracking.promote("focus", register(), **gate)
    api = client()
    experiment = api.get_experiment_by_name("focus-audit").experiment_id
    for run in api.search_runs([experiment]):
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("focus.")}
        api.create_run(experiment, tags=tags)
    trail = tracking.audit("focus")
    assert [(item.sequence, item.state) for item in trail] == [(1, "done"), (2, "done")]
    assert tracking.rollback("focus", reason="tried out").sequence == 3
    assert tracking.champion("focus") == replayed() == 1
