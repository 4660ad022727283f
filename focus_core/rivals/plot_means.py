"""What agronomists use today, on the mean spectrum of each plot: PLS-DA with VIP, and a random forest.

Neither looks at space or at the frozen features. Both read bands, not groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import make_scorer
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from focus_core.errors import SettingsError

_MOST_COMPONENTS = 8
_MOST_FOLDS = 5
_FOREST_FOLDS = 2
_TREES = 60
_REPEATS = 3

PLS_VIP_READ_OUT = (
    "VIP of each band in a PLS-DA of the class against the reference class; never negative, mean square 1"
)
FOREST_READ_OUT = (
    "rise of the class's Brier score on held-out plots when a band is permuted, in a random forest of all classes; "
    "correlated bands stand in for one another, so importance is split among them and may vanish"
)


class _Contrast(NamedTuple):
    """One class against others, on the bands that every plot has."""

    spectra: Float[np.ndarray, "plot band"]
    member: Int[np.ndarray, " plot"]
    """1 for plots of the class, 0 for the others."""
    folds: StratifiedKFold
    """Of plots; no fold lacks either side."""


def pls_vip(
    spectra: Float[np.ndarray, "plot band"],
    label: Int[np.ndarray, " plot"],
    classes: int,
    *,
    reference: int | None = None,
) -> Float[np.ndarray, "cls band"]:
    """Variable importance in projection of one PLS-DA per class (Wold et al. 1993; Chong & Jun 2005).

    Bands are standardised; the number of components is the one of least cross-validated squared error.

    Parameters
    ----------
    spectra
        ``(plot, band)`` float, mean reflectance of each training plot; a band that is NaN in any plot is left out.
    label
        ``(plot,)``, class index of each plot.
    classes
        Number of classes.
    reference
        Class against which the others are told apart; the reference itself, and every class without one, against
        the rest.

    Returns
    -------
    Float[np.ndarray, "cls band"]
        Never negative; over the bands used its mean square is 1. NaN for a band left out.

    Raises
    ------
    SettingsError
        If no band is left, or a class or what it is told apart from has fewer than two plots.
    """
    seen = _seen(spectra)
    curves = np.full((classes, spectra.shape[1]), np.nan)
    for index in range(classes):
        others = label != index if reference in (None, index) else label == reference
        curves[index, seen] = _vip(_best_pls(_contrast(spectra[:, seen], label == index, others)))
    return curves


def forest_permutation(
    spectra: Float[np.ndarray, "plot band"], label: Int[np.ndarray, " plot"], classes: int, *, seed: int
) -> Float[np.ndarray, "cls band"]:
    """Permutation importance in a random forest (Breiman 2001) for each class against the rest, on held-out plots.

    Neighbouring bands carry nearly the same numbers: a forest that loses one reads the next, so permutation splits
    importance among correlated bands and can hide all of it (Strobl et al. 2008).

    Parameters
    ----------
    spectra
        ``(plot, band)`` float, mean reflectance of each plot; a band that is NaN in any plot is left out.
    label
        ``(plot,)``, class index of each plot.
    classes
        Number of classes.
    seed
        Seed of folds, trees and permutations.

    Returns
    -------
    Float[np.ndarray, "cls band"]
        Rise of the held-out Brier score, mean over folds; about 0, of either sign, for a band that is not used. NaN for
        a band left out.

    Raises
    ------
    SettingsError
        If no band is left, or a class has fewer than two plots.
    """
    seen = _seen(spectra)
    fewest = int(np.bincount(label, minlength=classes).min())
    if fewest < _FOREST_FOLDS:
        raise SettingsError(
            f"a class has {fewest} plots; a forest judged on held-out plots needs {_FOREST_FOLDS} of each"
        )
    scorers = {
        str(index): make_scorer(_brier, response_method="predict_proba", greater_is_better=False, index=index)
        for index in range(classes)
    }
    curves = np.full((classes, spectra.shape[1]), np.nan)
    curves[:, seen] = 0.0
    folds = StratifiedKFold(_FOREST_FOLDS, shuffle=True, random_state=seed)
    for train, held_out in folds.split(spectra, label):
        forest = RandomForestClassifier(_TREES, class_weight="balanced", random_state=seed)
        forest.fit(spectra[train][:, seen], label[train])
        found = permutation_importance(
            forest,
            spectra[held_out][:, seen],
            label[held_out],
            scoring=scorers,
            n_repeats=_REPEATS,
            random_state=seed,
        )
        curves[:, seen] += [found[name].importances_mean / _FOREST_FOLDS for name in scorers]
    return curves


def _brier(label: Int[np.ndarray, " plot"], probability: Float[np.ndarray, "plot cls"], *, index: int) -> float:
    """Return the Brier score of one class against the rest."""
    return float(np.square(probability[:, index] - (label == index)).mean())


def _seen(spectra: Float[np.ndarray, "plot band"]) -> Bool[np.ndarray, " band"]:
    seen: Bool[np.ndarray, " band"] = np.isfinite(spectra).all(axis=0)
    if not seen.any():
        raise SettingsError("every band is NaN in some plot; leave out the plots without pixels")
    return seen


def _contrast(
    spectra: Float[np.ndarray, "plot band"],
    own: Bool[np.ndarray, " plot"],
    others: Bool[np.ndarray, " plot"],
) -> _Contrast:
    fewest = int(min(own.sum(), others.sum()))
    if fewest < 2:
        raise SettingsError(
            f"a class has {int(own.sum())} plots and is told apart from {int(others.sum())}; give two or more of each"
        )
    either = own | others
    folds = StratifiedKFold(min(_MOST_FOLDS, fewest), shuffle=True, random_state=0)
    return _Contrast(spectra[either], own[either].astype(np.int64), folds)


def _best_pls(contrast: _Contrast) -> PLSRegression:
    """Fit PLS-DA with the number of components of least cross-validated squared error."""
    smallest = len(contrast.member) - int(np.ceil(len(contrast.member) / contrast.folds.n_splits))
    most = max(1, min(_MOST_COMPONENTS, contrast.spectra.shape[1], smallest - 2))  # more would fit the plots exactly
    target = contrast.member.astype(np.float64)
    folds = list(contrast.folds.split(contrast.spectra, contrast.member))
    errors = [
        np.square(cross_val_predict(PLSRegression(count), contrast.spectra, target, cv=folds) - target).mean()
        for count in range(1, most + 1)
    ]
    return PLSRegression(int(np.argmin(errors)) + 1).fit(contrast.spectra, target)


def _vip(fit: PLSRegression) -> Float[np.ndarray, " band"]:
    """VIP: the squared weight of a band in each component, by the share of the class that the component explains."""
    explained = np.square(fit.x_scores_).sum(axis=0) * np.square(fit.y_loadings_[0])
    weight = np.square(fit.x_weights_ / np.linalg.norm(fit.x_weights_, axis=0))
    vip: Float[np.ndarray, " band"] = np.sqrt(len(weight) * (weight @ explained) / explained.sum())
    return vip
