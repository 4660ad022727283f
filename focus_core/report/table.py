"""What is said of each plot, in the table and on the map.

Knows one flight; does not know HTML.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from focus_core.report.flight import Flight

_TOP = 3


@dataclass(frozen=True, kw_only=True)
class TopGroup:
    """A wavelength group and what it adds to the predicted class's logit."""

    name: str
    importance: float


@dataclass(frozen=True, kw_only=True)
class PlotRow:
    """One plot."""

    plot: str
    predicted: str
    confidence: float
    """Probability of the predicted class, 0 to 1."""
    label: str
    """True class; empty where unknown."""
    fold: str
    top: tuple[TopGroup, ...]
    """The groups that speak most for the predicted class, at most three, none that speaks against it."""
    area: float
    n_eff: float
    sink_share: float
    """Mean over groups of the attention that the predicted class's prompts leave on the sink, 0 to 1."""
    geometry: str
    indices: tuple[float | None, ...]
    """Vegetation indices in the order of the flight's, none where one cannot be formed."""

    @property
    def wrong(self) -> bool:
        """Whether the true class is known and another one."""
        return bool(self.label) and self.label != self.predicted


def plot_rows(flight: Flight) -> list[PlotRow]:
    """Return a row for each explained plot, in the order of the flight."""
    importance, rows = flight.importance, []
    for index, plot in enumerate(flight.plots):
        cls = int(flight.predicted[index])
        best = [g for g in np.argsort(-importance[index, cls], kind="stable")[:_TOP] if importance[index, cls, g] > 0]
        row = PlotRow(
            plot=plot,
            predicted=flight.classes[cls],
            confidence=float(flight.probability[index, cls]),
            label=flight.label[index],
            fold=flight.fold[index],
            top=tuple(TopGroup(name=flight.groups[g], importance=float(importance[index, cls, g])) for g in best),
            area=float(flight.area[index]),
            n_eff=float(flight.n_eff[index]),
            sink_share=float(flight.sink_share[index, cls].mean()),
            geometry=flight.geometry[index],
            indices=tuple(float(own[index]) if np.isfinite(own[index]) else None for own in flight.indices.values()),
        )
        rows.append(row)
    return rows
