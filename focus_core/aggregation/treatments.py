"""Mean importance of each treatment of a flight, with an interval over its plots.

Knows plots and their labels; knows neither windows nor other flights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from focus_core.config import FOLDS, Fold
from focus_core.errors import SettingsError

HELD_OUT: Fold = "test"
"""Only plots of this fold count: what a model says of plots that it was trained on is no evidence."""


def refuse_unknown_fold(fold: str | None) -> None:
    """Refuse a name that is no fold's: no plot would count, which looks like a field without plots.

    Raises
    ------
    SettingsError
        If it is none.
    """
    if fold is not None and fold not in FOLDS:
        raise SettingsError(f"there is no fold '{fold}'; known: {', '.join(FOLDS)}, and None for all plots")


def treatment_intervals(
    importance: xr.DataArray, counted: npt.NDArray[np.bool_], label: npt.NDArray[np.int64], *, confidence: float
) -> xr.Dataset:
    """Return the lazy mean and Student's interval of each treatment, plots counting alike.

    Parameters
    ----------
    importance
        ``(plot, cls, group)``, logit units.
    counted
        ``(plot,)``: plots that are present and held out.
    label
        ``(plot,)``: index of the plot's treatment in ``cls``, negative where unknown.
    confidence
        Level of the interval, 0 to 1.

    Returns
    -------
    xarray.Dataset
        ``treatment_mean, treatment_lo, treatment_hi (treatment, cls, group)``, logit units: NaN without plots, ends of
        the interval also with a single one; ``treatment_plots (treatment)``, how many counted.
    """
    classes = importance["cls"].to_numpy()
    member = xr.DataArray(counted[None] & (label[None] == np.arange(len(classes))[:, None]), dims=("treatment", "plot"))
    plots = member.sum("plot")
    some, several = plots.where(plots > 0), plots.where(plots > 1)
    values = importance.fillna(0.0)
    mean = (values * member).sum("plot") / some
    variance = (((values - mean) ** 2) * member).sum("plot") / (several - 1)
    quantile = xr.DataArray(stats.t.ppf(0.5 + confidence / 2, several - 1), dims="treatment")
    half = quantile * np.sqrt(variance / several)
    found = {"mean": mean, "lo": mean - half, "hi": mean + half}
    return xr.Dataset(
        {**{f"treatment_{name}": values for name, values in found.items()}, "treatment_plots": plots},
        coords={"treatment": ("treatment", classes)},
    ).transpose("treatment", "cls", "group")
