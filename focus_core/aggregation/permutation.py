"""Differences between two treatments in a blocked trial: estimate, interval, and permutations within the blocks.

Knows arrays; does not know what the columns mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

_BATCH = 1000
"""Permutations held at once."""


class BlockedDifference(NamedTuple):
    """What a blocked trial says of every column ``(column,)``, float64."""

    difference: npt.NDArray[np.float64]
    """Treated minus control within blocks, in the unit of the values."""
    lo: npt.NDArray[np.float64]
    hi: npt.NDArray[np.float64]
    p_adjusted: npt.NDArray[np.float64]
    """Family-wise over all columns, 0 to 1."""


def blocked_difference(
    values: npt.NDArray[np.float64],
    treated: npt.NDArray[np.bool_],
    block: npt.NDArray[np.int64],
    *,
    confidence: float,
    permutations: int,
    seed: int,
) -> BlockedDifference:
    """Estimate and test the difference of two treatments within trial blocks, for many columns at once.

    The difference is the least-squares effect of the treatment beside an effect of each block, its interval Student's
    with the residual's degrees of freedom (the analysis of a randomised block design: Fisher 1935, *The Design of
    Experiments*). Treatments are exchanged within blocks only, as they were drawn; a p-value is the share of
    exchanges, the observed one counted in (Phipson & Smyth 2010), whose largest ``|t|`` reaches the column's, in the
    step-down order of Westfall & Young 1993, *Resampling-Based Multiple Testing*, algorithm 4.1. It holds for any
    distribution and any dependence between columns.

    Parameters
    ----------
    values
        ``(plot, column)``, finite.
    treated
        ``(plot,)``.
    block
        ``(plot,)``, number of the block; every block holds both treatments, and there are more plots than blocks + 1.
    confidence
        Level of the intervals, each for itself, 0 to 1.
    permutations
        Number of exchanges drawn.
    seed
        Seed of the exchanges.
    """
    order = np.argsort(block, kind="stable")
    values, treated, block = values[order], treated[order], np.unique(block[order], return_inverse=True)[1]
    centred = _within(values.T, block)
    freedom = len(block) - int(block.max()) - 2
    sign = _within(treated[None].astype(np.float64), block)
    difference, error = _effects(sign, centred, freedom)
    observed = _studentised(difference, error)[0]
    rank = np.argsort(-observed, kind="stable")
    rng, reached = np.random.default_rng(seed), np.ones(len(rank))
    for start in range(0, permutations, _BATCH):
        # Sorting by block plus a random fraction shuffles within blocks.
        keys = block + rng.random((min(_BATCH, permutations - start), len(block)))
        drawn = _studentised(*_effects(sign[0, np.argsort(keys, axis=1)], centred, freedom))[:, rank]
        largest = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        # The same exchange must not miss itself by a rounding.
        reached += (largest >= observed[rank] * (1.0 - 1e-9)).sum(axis=0)
    adjusted = np.empty(len(rank))
    adjusted[rank] = np.maximum.accumulate(reached / (permutations + 1))
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * error[0]
    return BlockedDifference(difference[0], difference[0] - half, difference[0] + half, adjusted)


def _within(rows: npt.NDArray[np.float64], block: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Take the mean of each block out of ``(row, plot)``."""
    member = (block[:, None] == np.arange(block.max() + 1)).astype(np.float64)
    means = rows @ member / member.sum(axis=0)
    return np.asarray(rows - means[:, block])


def _effects(
    sign: npt.NDArray[np.float64], centred: npt.NDArray[np.float64], freedom: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Effect and its standard error ``(exchange, column)``."""
    square = (sign[0] ** 2).sum()
    effect = sign @ centred.T / square
    rest = np.maximum((centred**2).sum(axis=1) - effect**2 * square, 0.0)
    return effect, np.sqrt(rest / freedom / square)


def _studentised(effect: npt.NDArray[np.float64], error: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``|t|``; 0 where a column does not vary at all."""
    return np.divide(np.abs(effect), error, out=np.zeros_like(effect), where=error > 0.0)
