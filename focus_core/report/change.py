"""What changed between two flights, over the plots that both explain.

Knows flights; draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.metrics import student_interval
from focus_core.report.curves import LEVEL, Curve
from focus_core.report.flight import Flight


@dataclass(frozen=True, kw_only=True)
class Change:
    """Later minus earlier, paired by plot."""

    earlier: Flight
    curves: tuple[Curve, ...]
    """Change of each class's curve on its own plots; a class without common plots has none."""
    control: dict[str, Curve]
    """The same curves' change on plots of the reference class, by the name of the curve."""
    missing: tuple[str, ...]
    """Plots that only the earlier flight explains."""
    new: tuple[str, ...]
    """Plots that only the later flight explains."""


def change_since(later: Flight, earlier: Flight, *, reference_class: str | None) -> Change:
    """Compare two flights under the later one's classes; intervals are Student's, of the mean over plots."""
    before = {plot: row for row, plot in enumerate(earlier.plots)}
    shared = [row for row, plot in enumerate(later.plots) if plot in before]
    difference = np.full_like(later.per_nm, np.nan)
    difference[shared] = later.per_nm[shared] - earlier.per_nm[[before[later.plots[row]] for row in shared]]
    of_class = {name: [row for row in shared if later.grouping[row] == name] for name in later.classes}
    grown = [(index, name) for index, name in enumerate(later.classes) if of_class[name]]
    others = of_class.get(reference_class or "", [])
    return Change(
        earlier=earlier,
        curves=tuple(_curve(name, difference[:, index], of_class[name], later.fold) for index, name in grown),
        control={
            name: _curve(str(reference_class), difference[:, index], others, later.fold)
            for index, name in grown
            if others and name != reference_class
        },
        missing=tuple(plot for plot in earlier.plots if plot not in later.plots),
        new=tuple(plot for plot in later.plots if plot not in before),
    )


def _curve(name: str, difference: npt.NDArray[np.float64], rows: Sequence[int], fold: Sequence[str]) -> Curve:
    own = difference[list(rows)]
    lo, hi = student_interval(own, level=LEVEL)
    trained = sum(fold[row] == "train" for row in rows)
    return Curve(name=name, plots=len(rows), trained=trained, mean=own.mean(axis=0), lo=lo, hi=hi)
