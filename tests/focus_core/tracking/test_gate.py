import math

from hypothesis import given
from hypothesis import strategies as st

from focus_core.tracking import failed_thresholds

VALUE = st.floats(-1e6, 1e6)
NONE = {"at_least": {}, "at_most": {}, "not_below_champion_by": {}}


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
