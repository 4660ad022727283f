"""A flight that was shifted is noticed; of those that were not, as few as is stated."""

import numpy as np
import pytest

from focus_core.metrics import DRIFT_LEVEL, Plots, drift

GROUPS, CLASSES = 8, 4


def plots(rng, count, *, shift=0.0, shares=(0.25,) * CLASSES, sink=0.2):
    """Groups share the plot's brightness, as real ones do; ``shift`` is of the fourth, in standard deviations."""
    reflectance = 0.3 + 0.02 * rng.normal(size=(count, 1)) + 0.01 * rng.normal(size=(count, GROUPS))
    reflectance[:, 3] += shift * 0.02
    counts = rng.multinomial(count, shares)
    return Plots(reflectance, counts, rng.beta(20 * sink, 20 * (1 - sink), size=count))


def test_a_flight_that_did_not_drift_raises_an_alarm_as_rarely_as_is_stated():
    rng = np.random.default_rng(7)
    draws = 400
    alarms = sum(drift(plots(rng, 40), plots(rng, 60))["alarms"] > 0 for _ in range(draws))
    # Of 400 draws at 1 %, more than 10 come about in one case of a thousand.
    assert alarms <= 10
    assert DRIFT_LEVEL == 0.01


@pytest.mark.parametrize(
    ("what", "size", "changes"),
    [
        ("spectrum", (0.4, 0.8), {"shift": 2.0}),
        ("classes", (0.4, 0.8), {"shares": (0.85, 0.05, 0.05, 0.05)}),
        ("sink", (0.8, 1.0), {"sink": 0.4}),
    ],
)
def test_what_was_shifted_is_flagged_and_nothing_else(what, size, changes):
    rng = np.random.default_rng(3)
    flagged = {"spectrum": 0, "classes": 0, "sink": 0}
    for _ in range(50):
        found = drift(plots(rng, 40, **changes), plots(rng, 60))
        assert size[0] - 0.15 < found[what] < size[1] + 0.15
        for name in flagged:
            flagged[name] += found[f"{name}_p"] < DRIFT_LEVEL / 3
    assert flagged.pop(what) >= 48
    assert max(flagged.values()) <= 3


def test_a_sink_share_that_falls_is_no_alarm():
    rng = np.random.default_rng(3)
    found = drift(plots(rng, 40, sink=0.1), plots(rng, 60, sink=0.4))
    assert found["sink"] < 0.1
    assert found["alarms"] == 0


def test_equal_plots_have_no_distance_and_too_few_say_nothing():
    rng = np.random.default_rng(3)
    same = plots(rng, 40)
    found = drift(same, same)
    assert (found["spectrum"], found["classes"], found["sink"], found["alarms"]) == (0.0, 0.0, 0.5, 0.0)
    assert drift(plots(rng, 3), same) == {"alarms": 0.0}
    without = Plots(same.reflectance, same.class_counts, np.zeros(0))
    assert set(drift(without, same)) == {"spectrum", "spectrum_p", "classes", "classes_p", "alarms"}
