"""Deletion and insertion: does the score fall, or rise, as fast as the importance says.

Knows the order of groups and the scores along it; does not know how a group is deleted or scored.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from focus_core.errors import SettingsError


def deletion_path(importance: Float[np.ndarray, " group"]) -> Bool[np.ndarray, "step group"]:
    """List the groups that are left as groups are deleted, most important first.

    Parameters
    ----------
    importance
        ``(group,)`` float, signed; equal ones go in the order of the groups.

    Returns
    -------
    Bool[np.ndarray, "step group"]
        ``(group + 1, group)`` bool, True = left; the first row is full, the last empty.

    Raises
    ------
    SettingsError
        If an importance is not finite.
    """
    return ~insertion_path(importance)


def insertion_path(importance: Float[np.ndarray, " group"]) -> Bool[np.ndarray, "step group"]:
    """List the groups that are present as groups are inserted, most important first.

    Parameters
    ----------
    importance
        ``(group,)`` float, signed; equal ones go in the order of the groups.

    Returns
    -------
    Bool[np.ndarray, "step group"]
        ``(group + 1, group)`` bool, True = present; the first row is empty, the last full.

    Raises
    ------
    SettingsError
        If an importance is not finite.
    """
    if not np.isfinite(importance).all():
        raise SettingsError("expected finite importance of every group, found NaN or infinity; leave the group out")
    rank = np.argsort(np.argsort(-importance, kind="stable"))
    return np.asarray(rank < np.arange(importance.size + 1)[:, None])


def path_auc(
    scores: Float[np.ndarray, " step"],
    path: Bool[np.ndarray, "step group"],
    *,
    width: Float[np.ndarray, " group"] | None = None,
) -> float:
    """Area under the scores along a path (Petsiuk et al., BMVC 2018), as a mean score.

    The lower after deletion and the higher after insertion, the more faithful the order.

    Parameters
    ----------
    scores
        ``(step,)`` float, say the probability of the class with the groups of each step.
    path
        ``(step, group)`` bool from `deletion_path` or `insertion_path`.
    width
        ``(group,)`` float, weight of each group on the axis, say nm; equal by default.

    Returns
    -------
    float
        Between the smallest and the largest score; NaN where a score is NaN or there is no group.

    Raises
    ------
    SettingsError
        If a width is not positive, or the path neither only deletes nor only inserts all groups.
    """
    if width is not None and not (width > 0).all():
        raise SettingsError(f"expected positive widths of the groups, found {width.min()}")
    changes = np.diff(path.astype(np.int8), axis=0)
    once = (changes != 0).sum(axis=0) == 1
    if not once.all() or np.unique(changes[changes != 0]).size > 1:
        raise SettingsError("expected a path that deletes, or inserts, every group once; use deletion_path")
    if path.shape[1] == 0:
        return float("nan")
    weight = np.ones(path.shape[1]) if width is None else width.astype(np.float64)
    share = np.concatenate([[0.0], (np.abs(changes) @ weight).cumsum() / weight.sum()])
    return float(np.trapezoid(scores.astype(np.float64), share))
