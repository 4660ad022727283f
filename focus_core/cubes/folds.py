"""Which fold each trial block lies in.

Knows names of blocks and classes of plots; knows neither pixels nor windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from focus_core.config.campaign import Folds
from focus_core.config.settings import FOLDS, Fold

_ROTATIONS = 500
# What a fold without a plot of some class costs: training first, then the folds whose numbers are reported.
_COST = {"train": 1000.0, "test": 30.0, "gate": 20.0, "validation": 10.0}


def assign_folds(
    blocks: Sequence[str], labels: Sequence[int], folds: Folds, *, counted: Sequence[bool] | None = None
) -> dict[str, Fold]:
    """Split blocks by the shares of a campaign.

    Blocks are sorted by name, so that the order of plots in a file does not matter, and shuffled by the seed. Of
    several such orders the first is taken that leaves the fewest folds without a plot of some class: in a trial with
    complete blocks that is the first of all, so flights over one field are split alike.

    Parameters
    ----------
    blocks
        Block of each plot.
    labels
        Class index of each plot; -1 where unlabelled.
    folds
        Shares and seed.
    counted
        Whether a plot is large enough to stand for its class in a fold; by default all are.

    Returns
    -------
    dict
        The fold of each block.
    """
    names = sorted(set(blocks))
    position = {name: index for index, name in enumerate(names)}
    has = _classes_of_blocks(blocks, labels, position, counted)
    sizes = _sizes(len(names), folds)
    layout = np.repeat(np.arange(len(FOLDS)), sizes)
    rng = np.random.default_rng(folds.seed)
    best: npt.NDArray[np.int64] | None = None
    least = np.inf
    for _ in range(_ROTATIONS):
        chosen = np.empty(len(names), dtype=np.int64)
        chosen[rng.permutation(len(names))] = layout
        cost = sum(
            _COST[fold] * (~has[chosen == index].any(axis=0)).sum() for index, fold in enumerate(FOLDS) if sizes[index]
        )
        if cost < least:
            best, least = chosen, float(cost)
        if least == 0.0:
            break
    assert best is not None
    return {name: FOLDS[best[index]] for name, index in position.items()}  # type: ignore[misc]


def _classes_of_blocks(
    blocks: Sequence[str], labels: Sequence[int], position: dict[str, int], counted: Sequence[bool] | None
) -> npt.NDArray[np.bool_]:
    """Return ``(block, cls)``: where a block has a plot of a class."""
    classes = max(max(labels, default=-1) + 1, 0)
    has = np.zeros((len(position), classes), dtype=np.bool_)
    for index, (block, label) in enumerate(zip(blocks, labels, strict=True)):
        if label >= 0 and (counted is None or counted[index]):
            has[position[block], label] = True
    return has[:, has.any(axis=0)]


def _sizes(blocks: int, folds: Folds) -> npt.NDArray[np.int64]:
    """Return how many blocks each fold gets: by largest remainder, and one at least where there are enough."""
    shares = np.array([folds.shares[fold] for fold in FOLDS])  # type: ignore[index]
    wanted = shares * blocks
    sizes = np.floor(wanted + 1e-9).astype(np.int64)
    for index in np.argsort(-(wanted - sizes), kind="stable")[: blocks - sizes.sum()]:
        sizes[index] += 1
    for index in np.flatnonzero((sizes == 0) & (shares > 0.0)):
        largest = int(sizes.argmax())
        if sizes[largest] > 1:
            sizes[largest] -= 1
            sizes[index] += 1
    return sizes
