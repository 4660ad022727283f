"""Which wavelength groups separate two treatments, from ``importance.zarr`` alone.

Knows the store's layout and the trial's blocks; does not know the model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from focus_core.aggregation.bands import sum_by_group
from focus_core.aggregation.permutation import blocked_difference
from focus_core.aggregation.treatments import refuse_unknown_fold
from focus_core.config.settings import Fold
from focus_core.errors import SettingsError, StoreError


def compare_treatments(
    importance: xr.Dataset,
    treatment: str,
    control: str,
    *,
    cls: str | None = None,
    fold: Fold | None = "test",
    confidence: float = 0.95,
    permutations: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much more each wavelength group spoke for a class on plots of one treatment than on another's.

    A plot counts once: over several flights it is the mean of those that explain it. Plots are compared within their
    trial blocks, and only blocks with both treatments count. The p-values are adjusted over all wavelength groups and
    all classes of the store together, so that curves of several classes may be looked at without raising the chance
    of a false claim. Plots that the model was trained or chosen on are left out: it has seen their labels, so an
    exchange of treatments would not be fair. With ``n`` blocks of one plot each, no p-value can be below ``2 / 2ⁿ``.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says; ``sel`` chooses flights.
    treatment, control
        Names of classes: what grows on the plots.
    cls
        Class whose curve is looked at; by default the treatment's own.
    fold
        Part of the split whose plots count; none takes all, whose p-values then say nothing of a trained model.
    confidence
        Level of the intervals, each group for itself.
    permutations
        Exchanges of treatments within blocks.
    seed
        Seed of the exchanges.

    Returns
    -------
    pandas.DataFrame
        By ``group``, strongest evidence first: ``lo_nm``, ``hi_nm``; ``difference``, ``lo``, ``hi`` (logit units,
        treatment minus control); ``p_adjusted``. ``attrs`` holds ``plots`` of each treatment and ``blocks``.

    Raises
    ------
    SettingsError
        If a class or fold is unknown, or both treatments are the same.
    StoreError
        If the store names no trial blocks, or too few plots share a block.
    """
    names = [str(name) for name in importance.attrs["classes"]]
    curves = [str(name) for name in importance["cls"].to_numpy()]
    wanted = treatment if cls is None else cls
    for name, known in ((treatment, names), (control, names), (wanted, curves)):
        if name not in known:
            raise SettingsError(f"there is no class '{name}'; the store holds {', '.join(known)}")
    refuse_unknown_fold(fold)
    if treatment == control:
        raise SettingsError(f"'{treatment}' cannot be compared with itself; name two classes")
    whole = importance if "campaign" in importance.dims else importance.expand_dims("campaign")
    values, treated, block = _plots(whole, names.index(treatment), names.index(control), fold)
    if not treated.size or treated.size < len(np.unique(block)) + 2:
        where = f" in the fold '{fold}'" if fold else ""
        raise StoreError(
            f"too few trial blocks hold plots of both '{treatment}' and '{control}'{where}: {treated.size} plots in "
            f"{len(np.unique(block))} blocks; name the block in the campaign file's plots, or another fold"
        )
    found = blocked_difference(
        values.reshape(len(values), -1), treated, block, confidence=confidence, permutations=permutations, seed=seed
    )
    row = curves.index(wanted)
    own = {name: part.reshape(values.shape[1:])[row] for name, part in found._asdict().items()}
    index = pd.Index([str(name) for name in importance["group"].to_numpy()], name="group")
    limits = {name: importance[f"group_{name}"].to_numpy() for name in ("lo_nm", "hi_nm")}
    table = pd.DataFrame({**limits, **own}, index=index)
    table.attrs = {
        "plots": {treatment: int(treated.sum()), control: int((~treated).sum())},
        "blocks": len(np.unique(block)),
    }
    order = np.lexsort([-np.abs(table["difference"].to_numpy()), table["p_adjusted"].to_numpy()])
    return table.iloc[order]


def _plots(
    importance: xr.Dataset, treatment: int, control: int, fold: str | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return values ``(plot, cls, group)``, treatment and number of block of the plots that count."""
    if "block" not in importance:
        raise StoreError("importance.zarr names no trial blocks; run aggregate again")
    label = importance["label"].transpose("campaign", "plot").to_numpy()
    counts = importance["present"].transpose("campaign", "plot").to_numpy() & np.isin(label, (treatment, control))
    if fold is not None:
        counts &= importance["fold"].transpose("campaign", "plot").to_numpy() == fold
    kept = np.flatnonzero(counts.any(axis=0))
    first = counts[:, kept].argmax(axis=0)
    own = label[first, kept]
    if (counts[:, kept] & (label[:, kept] != own)).any():
        raise StoreError("a plot holds one treatment in one flight and the other in another; choose a flight with sel")
    names = importance["block"].transpose("campaign", "plot").to_numpy()[first, kept]
    block = np.unique(names.astype(object).astype(str), return_inverse=True)[1]
    both = np.isin(block, np.intersect1d(block[own == treatment], block[own == control]))
    values = _by_group(importance.isel(plot=kept[both]), counts[:, kept[both]])
    return values, own[both] == treatment, block[both]


def _by_group(importance: xr.Dataset, counts: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the importance of each group ``(plot, cls, group)``, the mean over the flights that count."""
    groups = sum_by_group(importance).transpose("campaign", "plot", "cls", "group").to_numpy()
    counted = np.where(counts[:, :, None, None], groups, 0.0)
    return np.asarray(counted.sum(axis=0) / counts.sum(axis=0)[:, None, None])
