"""What is said of a flight that differs from what its model was trained on.

Knows the names that `drift` gives; does not know HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from focus_core.metrics import DRIFT_LEVEL

_QUESTIONS = {
    "spectrum": (
        "Light of the plots",
        "largest distance between the distributions of plot means in a wavelength group; 0 is none, 1 complete",
    ),
    "classes": ("Shares of the classes", "share of plots that would have to change class for the shares to be equal"),
    "sink": (
        "Attention that finds nothing",
        "chance that a plot of this flight leaves more of it than one of training; 0.5 is no change",
    ),
}


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """One question about a flight."""

    name: str
    size: float
    meaning: str
    """What the size says."""
    p: float
    """How likely such a size is without drift, 0 to 1."""
    alarm: bool


def drift_rows(drift: Mapping[str, float]) -> list[DriftRow]:
    """Return a row for each question that was answered."""
    asked = [key for key in _QUESTIONS if key in drift]
    return [
        DriftRow(
            name=_QUESTIONS[key][0],
            size=drift[key],
            meaning=_QUESTIONS[key][1],
            p=drift[f"{key}_p"],
            alarm=drift[f"{key}_p"] < DRIFT_LEVEL / len(asked),
        )
        for key in asked
    ]
