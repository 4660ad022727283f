import math

from hypothesis import given
from hypothesis import strategies as st

from focus_core.tracking import judge

VALUE = st.floats(-1e6, 1e6)
NONE = {"at_least": {}, "at_most": {}, "not_below_champion_by": {}}


def failed_thresholds(*args, **thresholds):
    return tuple(verdict.failure for verdict in judge(*args, **thresholds) if verdict.failure)


@given(value=VALUE, threshold=VALUE)
def test_exactly_one_of_two_opposite_thresholds_fails_unless_met(value, threshold):
    least = failed_thresholds({"gate.m": value}, None, **{**NONE, "at_least": {"gate.m": threshold}})
    most = failed_thresholds({"gate.m": value}, None, **{**NONE, "at_most": {"gate.m": threshold}})
    assert bool(least) == (value < threshold)
    assert bool(most) == (value > threshold)


@given(value=VALUE, best=VALUE, margin=st.floats(0.0, 1e3))
def test_a_challenger_may_fall_behind_by_the_margin_only(value, best, margin):
    failed = failed_thresholds(
        {"gate.m": value}, {"gate.m": best}, **{**NONE, "not_below_champion_by": {"gate.m": margin}}
    )
    assert bool(failed) == (value < best - margin)


def test_a_value_that_is_no_number_fails_everything():
    failed = failed_thresholds(
        {"gate.m": math.nan},
        {"gate.m": 0.1},
        at_least={"gate.m": 0.0},
        at_most={"gate.m": 1.0},
        not_below_champion_by={"gate.m": 1.0},
    )
    assert len(failed) == 3


def test_missing_metrics():
    thresholds = {"gate.m": 0.5}
    assert failed_thresholds({}, None, **{**NONE, "at_least": thresholds}) == (
        "gate.m was not logged, at least 0.5 is asked; run 'evaluate' first",
    )
    assert failed_thresholds({}, None, **{**NONE, "at_most": thresholds}) == ()
    assert failed_thresholds({}, None, **{**NONE, "not_below_champion_by": thresholds}) == ()
    assert failed_thresholds({}, {"gate.m": 0.9}, **{**NONE, "not_below_champion_by": thresholds}) == (
        "gate.m was not logged, the champion has 0.9; run 'evaluate' first",
    )
    assert failed_thresholds({"gate.m": 0.1}, {}, **{**NONE, "not_below_champion_by": thresholds}) == ()


def test_every_threshold_has_a_verdict_and_those_without_figures_are_not_judged():
    verdicts = judge(
        {"gate.a": 0.7},
        None,
        at_least={"gate.a": 0.6},
        at_most={"gate.b": 0.1},
        not_below_champion_by={"gate.a": 0.05},
    )
    assert [(item.metric, item.asked, item.judged, item.failure) for item in verdicts] == [
        ("gate.a", "at least 0.6", True, None),
        ("gate.b", "at most 0.1", False, None),
        ("gate.a", "at most 0.05 below the champion's", False, None),
    ]
