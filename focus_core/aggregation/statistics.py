"""Weighted mean, interval and effective sample size of each plot, per wavelength group.

Knows windows, weights and groups; does not know bands, polygons or other flights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from focus_core.aggregation.sums import weighted_sums
from focus_core.errors import StoreError

_PER_GROUP = ("importance", "evidence", "sink_share")


def plot_statistics(
    explanation: xr.Dataset, plots: Sequence[str], *, tiles_per_chunk: int, confidence: float
) -> xr.Dataset:
    """Return the lazy statistics of each plot; one graph, in which every tile is read once.

    A plot's value is the mean of its windows' values, each weighted by the window's ``coverage`` (its area inside the
    plot). Importance and logit take the same weights, so that ``Σ_group importance + bias = logit`` carries over from
    windows to plots. ``probability`` is the softmax of the plot's logit and not the mean of the windows'
    probabilities: only so do class and curve come from the same logit.

    The interval of a mean is Student's with ``n_eff - 1`` degrees of freedom, ``n_eff = (Σw)² / Σw²`` (Kish 1965,
    *Survey Sampling*, §8.2) and the weighted variance scaled by ``n_eff / (n_eff - 1)``. Windows of a plot overlap and
    share pixels, so ``n_eff`` counts more than there is and the interval is optimistic: it describes the spread within
    the plot, not the uncertainty of the plot's class. A plot of fewer than two effective windows has no interval (NaN).

    The second interval is over prompt seeds: Student's, of the mean over the model's independently trained seeds. It
    tells how far another training would move the number. With one seed there is none (NaN).

    Parameters
    ----------
    explanation
        As the schema ``EXPLANATION`` says.
    plots
        Ids of the plots, in the order of the result; every tile's plot is among them.
    tiles_per_chunk
        Tiles in one task.
    confidence
        Level of the interval, 0 to 1.

    Returns
    -------
    xarray.Dataset
        ``importance, lo, hi, seed_lo, seed_hi, evidence, sink_share (plot, cls, group)``,
        ``logit, probability, bias (plot, cls)``, ``n_eff, windows (plot)``; float64, NaN for plots without windows,
        whose ``windows`` is 0.

    Raises
    ------
    StoreError
        If a tile belongs to an unknown plot or has no positive weight.
    """
    number, weight = _weights(explanation, plots)
    tiles = explanation[[*_PER_GROUP, "seed_importance", "logit"]].chunk({"tile": tiles_per_chunk})
    tiles = tiles.assign(square=tiles["importance"].astype(np.float64) ** 2)
    shapes: dict[str, tuple[str, ...]] = {
        **dict.fromkeys((*_PER_GROUP, "square"), ("plot", "cls", "group")),
        "seed_importance": ("plot", "cls", "group", "seed"),
        "logit": ("plot", "cls"),
    }
    columns = [tiles[name].transpose("tile", *dims[1:]).data for name, dims in shapes.items()]
    sums = xr.DataArray(weighted_sums(columns, number, weight, len(plots)), dims=("plot", "column"))
    total = sums[:, 0].where(sums[:, 2] > 0)
    means, start = {}, 3
    for (name, dims), column in zip(shapes.items(), columns, strict=True):
        stop = start + int(np.prod(column.shape[1:]))
        data = (sums[:, start:stop] / total).data.reshape((len(plots), *column.shape[1:]))
        means[name] = xr.DataArray(data, dims=dims)
        start = stop
    n_eff = total**2 / sums[:, 1]
    half = _half_width(means.pop("square") - means["importance"] ** 2, n_eff, confidence)
    seed_half = _seed_half_width(means.pop("seed_importance"), confidence)
    statistics = xr.Dataset(
        {
            **means,
            "lo": means["importance"] - half,
            "hi": means["importance"] + half,
            "seed_lo": means["importance"] - seed_half,
            "seed_hi": means["importance"] + seed_half,
            "probability": _softmax(means["logit"]),
            "bias": explanation["bias"].astype(np.float64) + 0.0 * means["logit"],
            "n_eff": n_eff,
            "windows": sums[:, 2].astype(np.int64),
        },
        coords={"plot": np.array(plots, dtype=np.dtypes.StringDType()), "cls": explanation["cls"]},
    )
    groups = {name: explanation[name] for name in ("group", "group_lo_nm", "group_hi_nm")}
    return statistics.assign_coords(groups).transpose("plot", "cls", "group")


def _weights(explanation: xr.Dataset, plots: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    numbers = {plot: number for number, plot in enumerate(plots)}
    names = [str(name) for name in explanation["plot"].to_numpy()]
    unknown = sorted(set(names) - numbers.keys())
    if unknown:
        raise StoreError(
            f"the explanation holds windows of plots that the campaign file does not name: {unknown[:5]}; give the "
            "campaign file that the tiles were cut with"
        )
    weight = explanation["coverage"].to_numpy().astype(np.float64)
    wrong = ~(np.isfinite(weight) & (weight > 0))
    if wrong.any():
        tile = int(np.flatnonzero(wrong)[0])
        raise StoreError(f"'coverage' must be positive pixels, found {weight[tile]} at tile {tile}; run tile again")
    return np.array([numbers[name] for name in names], dtype=np.int64), weight


def _half_width(variance: xr.DataArray, n_eff: xr.DataArray, confidence: float) -> xr.DataArray:
    """Half the interval of a weighted mean; the variance's rounding below zero is cut."""
    enough = n_eff.where(n_eff >= 2.0 - 1e-9)
    quantile = xr.apply_ufunc(
        stats.t.ppf, 0.5 + confidence / 2, enough - 1.0, dask="parallelized", output_dtypes=[np.float64]
    )
    half: xr.DataArray = quantile * (variance.clip(min=0.0) / (enough - 1.0)) ** 0.5
    return half


def _seed_half_width(by_seed: xr.DataArray, confidence: float) -> xr.DataArray:
    """Half the interval of the mean over prompt seeds."""
    seeds = by_seed.sizes["seed"]
    if seeds < 2:
        return by_seed.isel(seed=0) * np.nan
    half: xr.DataArray = (
        stats.t.ppf(0.5 + confidence / 2, seeds - 1) * by_seed.std("seed", ddof=1, skipna=False) / np.sqrt(seeds)
    )
    return half


def _softmax(logit: xr.DataArray) -> xr.DataArray:
    power: xr.DataArray = xr.ufuncs.exp(logit - logit.max("cls"))
    return power / power.sum("cls")
