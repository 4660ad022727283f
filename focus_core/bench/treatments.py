"""The comparison of treatments against what it promises: how often it claims falsely, and what it finds.

Knows the layout of ``importance.zarr`` and draws one; no model is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from focus_core.aggregation import compare_treatments
from focus_core.errors import SettingsError

LEVEL = 0.05
"""Family-wise rate of false claims that the comparison promises."""

_CLASSES = ("control", "low_nitrogen", "drought", "disease")
_TREATMENT, _CONTROL = "drought", "control"
_LO_NM = np.arange(400.0, 2500.0, 100.0)
_STRESSED_NM = {"100_nm": (1500.0, 1600.0), "300_nm": (1400.0, 1700.0)}
_PERMUTATIONS = 199
"""As few as the level allows to be told apart from its neighbours; a reader's own comparison draws more."""


def run(
    *, shuffles: int, trials: int, plots: Sequence[int], calibrated_plots: int = 30, seed: int = 1
) -> dict[str, list[float]]:
    """Measure false claims on shuffled labels, and the power against a planted difference.

    A generated store has as many blocks as a treatment has plots, one plot of each of four classes in a block, and 21
    wavelength groups of 100 nm. Importance is contrastive over classes, as a model's is; blocks differ, neighbouring
    groups go together, and tails are heavy (Student's, 4 degrees of freedom) where false claims are counted and normal
    where power is. Planted is one pooled standard deviation in the treatment's own curve, in one group or in three.

    Parameters
    ----------
    shuffles
        Exchanges of the labels within blocks, each compared anew.
    trials
        Generated stores behind each power.
    plots
        Numbers of plots of each treatment at which the power is measured.
    calibrated_plots
        The number at which false claims are counted.
    seed
        Of everything drawn.

    Returns
    -------
    dict[str, list[float]]
        ``false_claims``, the share of shuffles in which any group of any class is claimed at 0.05, ``false_claims.lo``
        and ``.hi``, its exact 95 % interval (Clopper & Pearson 1934); ``power.<100_nm or 300_nm>.<n>_plots``, the share
        of trials in which a planted group is claimed in the treatment's curve.

    Raises
    ------
    SettingsError
        If there is nothing to draw, or a treatment has fewer than three plots.
    """
    if min(shuffles, trials) < 1 or min([*plots, calibrated_plots]) < 3:
        raise SettingsError(
            f"expected one shuffle and trial or more and three plots of each treatment or more, found {shuffles} "
            f"shuffles, {trials} trials and {[*plots, calibrated_plots]} plots"
        )
    values = _false_claims(shuffles, calibrated_plots, np.random.default_rng(seed))
    for name, stressed in _STRESSED_NM.items():
        for count in plots:
            rng = np.random.default_rng(seed)
            found = sum(_finds(rng, count, stressed) for _ in range(trials))
            values[f"power.{name}.{count}_plots"] = found / trials
    return {name: [value] for name, value in values.items()}


def _false_claims(shuffles: int, plots: int, rng: np.random.Generator) -> dict[str, float]:
    store = _store(rng, plots, lambda size: rng.standard_t(4, size))
    claims = 0
    for seed in range(shuffles):
        label = rng.permuted(np.tile(np.arange(len(_CLASSES)), (plots, 1)), axis=1)
        shuffled = store.assign(label=store["label"].copy(data=label.reshape(1, -1)))
        claims += any((_p_values(shuffled, cls, seed) <= LEVEL).any() for cls in _CLASSES)
    interval = stats.binomtest(claims, shuffles).proportion_ci(0.95, method="exact")
    return {"false_claims": claims / shuffles, "false_claims.lo": interval.low, "false_claims.hi": interval.high}


def _finds(rng: np.random.Generator, plots: int, stressed_nm: tuple[float, float]) -> bool:
    """Plant the difference in a new store, and say whether any of its groups is claimed."""
    store = _store(rng, plots, rng.standard_normal)
    groups = np.flatnonzero(np.isin(_LO_NM, np.arange(*stressed_nm, 100.0)))
    treated, control = _CLASSES.index(_TREATMENT), _CLASSES.index(_CONTROL)
    importance, label = store["importance"].to_numpy()[0], store["label"].to_numpy()[0]
    for group in groups:
        sides = [importance[label == each, treated, group] for each in (treated, control)]
        pooled = np.sqrt(np.mean([side.var(ddof=1) for side in sides]))
        # What one class gains the others lose: importance adds up to nothing over classes.
        shift = np.full(len(_CLASSES), -pooled / (len(_CLASSES) - 1))
        shift[treated] = pooled
        importance[label == treated, :, group] += shift
    return bool((_p_values(store, _TREATMENT, 0)[groups] <= LEVEL).any())


def _p_values(store: xr.Dataset, cls: str, seed: int) -> npt.NDArray[np.float64]:
    """Return the adjusted p-value of each group ``(group,)``."""
    table = compare_treatments(store, _TREATMENT, _CONTROL, cls=cls, permutations=_PERMUTATIONS, seed=seed)
    return np.asarray(table["p_adjusted"].loc[store["group"].to_numpy()])


def _store(
    rng: np.random.Generator, blocks: int, draw: Callable[[tuple[int, ...]], npt.NDArray[np.float64]]
) -> xr.Dataset:
    """Generate a flight in which no treatment differs; each wavelength group is one band."""
    classes, groups = len(_CLASSES), len(_LO_NM)
    evidence = draw((blocks * classes, classes, groups + 1))
    evidence = evidence[..., 1:] + 0.7 * evidence[..., :-1]
    evidence += rng.normal(size=(blocks, 1, groups)).repeat(classes, axis=0)
    importance = evidence - evidence.mean(axis=1, keepdims=True)
    plot = {
        "present": np.ones(blocks * classes, dtype=np.bool_),
        "label": np.tile(np.arange(classes), blocks),
        "fold": np.full(blocks * classes, "test"),
        "block": np.arange(blocks).repeat(classes).astype(str),
    }
    return xr.Dataset(
        {
            "importance": (("campaign", "plot", "cls", "band"), importance[None]),
            **{name: (("campaign", "plot"), values[None]) for name, values in plot.items()},
        },
        coords={
            "cls": list(_CLASSES),
            "group": [f"{lo:.0f} nm" for lo in _LO_NM],
            "group_lo_nm": ("group", _LO_NM),
            "group_hi_nm": ("group", _LO_NM + 100.0),
            "group_of_band": ("band", np.arange(groups)),
        },
        attrs={"classes": list(_CLASSES)},
    )
