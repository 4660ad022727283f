"""How importance changed from one flight to another, plot by plot, from ``importance.zarr`` alone.

Knows the store's layout; does not know the model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from focus_core.aggregation.bands import sum_by_group
from focus_core.aggregation.treatments import refuse_unknown_fold
from focus_core.config.settings import Fold
from focus_core.errors import SettingsError, StoreError
from focus_core.metrics import student_interval


def change_between_flights(
    importance: xr.Dataset,
    cls: str,
    *,
    treatment: str | None = None,
    earlier: str | None = None,
    later: str | None = None,
    fold: Fold | None = "test",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return how much more each wavelength group speaks for a class in a later flight than in an earlier one.

    Plots are paired by their id: only those that both flights explain count, each once. The interval is Student's, of
    the mean over plots. Where treated and control plots changed alike, light or growth did it, not the treatment: ask
    for both treatments.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says.
    cls
        Class whose curve is looked at.
    treatment
        Class that grows on the plots that count; by default all plots.
    earlier, later
        Names of flights; by default the first and the last of the store.
    fold
        Part of the split whose plots count; none takes all, also those that the model was trained on.
    confidence
        Level of the intervals, each group for itself.

    Returns
    -------
    pandas.DataFrame
        By ``group``, in the order of wavelength: ``lo_nm``, ``hi_nm``; ``change``, ``lo``, ``hi`` (logit units, later
        minus earlier; no interval, NaN, of a single plot). ``attrs`` holds the names ``earlier`` and ``later``, the
        number of ``plots``, and the ids of plots that only one of the flights explains: ``missing`` in the later,
        ``new`` in it.

    Raises
    ------
    SettingsError
        If there is no such class, treatment, flight or fold, or both flights are the same.
    StoreError
        If the store holds one flight only, or no plot that counts is explained in both.
    """
    curves = [str(name) for name in importance["cls"].to_numpy()]
    classes = [str(name) for name in importance.attrs["classes"]]
    for name, known in ((cls, curves), (treatment, classes)):
        if name is not None and name not in known:
            raise SettingsError(f"there is no class '{name}'; the store holds {', '.join(known)}")
    refuse_unknown_fold(fold)
    at = _flights(importance, earlier, later)
    label = None if treatment is None else classes.index(treatment)
    before, after = (_counting(importance.isel(campaign=flight), label, fold) for flight in at)
    both = np.flatnonzero(before & after)
    names = [str(importance["campaign"].to_numpy()[flight]) for flight in at]
    if not both.size:
        of = f"of '{treatment}' " if treatment else ""
        where = f" in the fold '{fold}'" if fold else ""
        raise StoreError(
            f"no plot {of}is explained in both '{names[0]}' and '{names[1]}'{where}; choose other flights, or fold=None"
        )
    groups = sum_by_group(importance.isel(plot=both, cls=curves.index(cls), campaign=list(at)))
    earlier_values, later_values = groups.transpose("campaign", "plot", "group").to_numpy()
    difference = later_values - earlier_values
    lo, hi = student_interval(difference, level=confidence)
    limits = {name: importance[f"group_{name}"].to_numpy() for name in ("lo_nm", "hi_nm")}
    index = pd.Index([str(name) for name in importance["group"].to_numpy()], name="group")
    table = pd.DataFrame({**limits, "change": difference.mean(axis=0), "lo": lo, "hi": hi}, index=index)
    gone, come = (
        [str(name) for name in importance["plot"].to_numpy()[counts & ~importance["present"].isel(campaign=other)]]
        for counts, other in ((before, at[1]), (after, at[0]))
    )
    table.attrs = {"earlier": names[0], "later": names[1], "plots": int(both.size), "missing": gone, "new": come}
    return table


def _flights(importance: xr.Dataset, earlier: str | None, later: str | None) -> tuple[int, int]:
    """Return the positions of two flights."""
    if "campaign" not in importance.dims or importance.sizes["campaign"] < 2:
        raise StoreError("a change needs two flights; open the importance.zarr of both and keep the dim 'campaign'")
    names = [str(name) for name in importance["campaign"].to_numpy()]
    for name in (earlier, later):
        if name is not None and name not in names:
            raise SettingsError(f"there is no flight '{name}'; the store holds {', '.join(names)}")
    first, last = names[0] if earlier is None else earlier, names[-1] if later is None else later
    if first == last:
        raise SettingsError(f"'{first}' cannot be compared with itself; name two flights")
    return names.index(first), names.index(last)


def _counting(flight: xr.Dataset, label: int | None, fold: str | None) -> npt.NDArray[np.bool_]:
    """Return which plots ``(plot,)`` of a flight count."""
    counts = flight["present"].to_numpy()
    if label is not None:
        counts = counts & (flight["label"].to_numpy() == label)
    if fold is not None:
        counts = counts & (flight["fold"].to_numpy() == fold)
    return np.asarray(counts)
