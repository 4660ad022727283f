"""Attention collapse: how much of the prompts' attention goes to tokens that say nothing about the plant.

Knows attention rows and kinds of keys; does not know models, nor which key is of which kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from focus_core.errors import SettingsError

_FACTOR = 2.0
"""A share above this multiple of uniform attention is a collapse."""


class Collapse(NamedTuple):
    """Attention on one kind of key, mean over the rows that have such keys."""

    raw: float
    """Share of the softmax, the sink's part included in the whole; NaN = no such keys."""
    renormalised: float
    """Share of the attention that is not on the sink; the one to compare models by."""
    uniform: float
    """Share of such keys among all keys but the sink: what uniform attention would give them."""

    @property
    def has_collapse(self) -> bool:
        """Whether the renormalised share is above twice uniform."""
        return has_collapse(self.renormalised, self.uniform)


def attention_share(
    attention: Float[np.ndarray, "*#row key"],
    keys: Bool[np.ndarray, "*#row key"],
    *,
    sink: Bool[np.ndarray, " key"] | None = None,
    renormalise: bool = False,
) -> Float[np.ndarray, "*row"]:
    """Share of each row's attention on a kind of key.

    Parameters
    ----------
    attention
        ``(*row, key)`` float, at least 0, head mean, say ``(tile, cls, group, key)``. Where the sink is not one of
        the keys a row sums to less than 1.
    keys
        ``(*row, key)`` bool, or broadcastable to it, the keys of this kind; ``(tile, 1, 1, key)`` where they
        differ between tiles, as background patches do.
    sink
        ``(key,)`` bool, the sink among the keys; none if its column is not there.
    renormalise
        Divide by the row's attention outside the sink.

    Returns
    -------
    Float[np.ndarray, "*row"]
        ``(*row)`` float64; NaN where the row has no such key, or, renormalised, no attention outside the sink.

    Raises
    ------
    SettingsError
        If an attention is negative or not finite, or a row sums to more than 1.
    """
    attention = _checked(attention)
    share = np.where(keys, attention, 0.0).sum(axis=-1)
    if renormalise:
        kept = _without_sink(attention, sink).sum(axis=-1)
        share = np.divide(share, kept, out=np.full_like(share, np.nan), where=np.broadcast_to(kept > 0, share.shape))
    return np.asarray(np.where(keys.any(axis=-1), share, np.nan))


def uniform_share(
    keys: Bool[np.ndarray, "*row key"], *, sink: Bool[np.ndarray, " key"] | None = None
) -> Float[np.ndarray, "*row"]:
    """Share of a kind of key among all keys but the sink.

    Parameters
    ----------
    keys
        ``(*row, key)`` bool, the keys of this kind.
    sink
        ``(key,)`` bool, the sink among the keys; none if its column is not there.

    Returns
    -------
    Float[np.ndarray, "*row"]
        ``(*row)`` float64 in [0, 1].
    """
    tokens = np.ones(keys.shape[-1], dtype=bool) if sink is None else ~sink
    return np.asarray(keys[..., tokens].mean(axis=-1))


def attention_collapse(
    attention: Float[np.ndarray, "*#row key"],
    kinds: Mapping[str, Bool[np.ndarray, "*#row key"]],
    *,
    sink: Bool[np.ndarray, " key"] | None = None,
) -> dict[str, Collapse]:
    """Attention on each kind of key, raw and without the sink, beside uniform attention.

    Parameters
    ----------
    attention
        As in `attention_share`, mean over the blocks that are read.
    kinds
        Name of a kind, such as ``cls``, ``register`` or ``background``, with its keys, broadcastable to
        ``attention``.
    sink
        ``(key,)`` bool, the sink among the keys; none if its column is not there.

    Returns
    -------
    dict[str, Collapse]
        One for each kind; all NaN ("not applicable") where no row has such keys.

    Raises
    ------
    SettingsError
        If an attention is negative or not finite, or a row sums to more than 1.
    """
    found = {}
    for name, keys in kinds.items():
        raw = attention_share(attention, keys, sink=sink)
        renormalised = attention_share(attention, keys, sink=sink, renormalise=True)
        uniform = np.where(np.isnan(renormalised), np.nan, uniform_share(keys, sink=sink))
        found[name] = Collapse(*(_mean_known(share) for share in (raw, renormalised, uniform)))
    return found


def has_collapse(share: float, uniform: float) -> bool:
    """Whether attention has collapsed onto a kind of key: its share is above twice uniform.

    Parameters
    ----------
    share
        Share of the attention outside the sink; NaN = no such keys.
    uniform
        Share of such keys among the tokens. At one half or more the verdict is never yes.

    Returns
    -------
    bool
        False where a share is NaN: without such keys there is nothing to reduce.
    """
    return bool(share > _FACTOR * uniform)


def collapse_reduction(baseline: float, treated: float) -> float:
    """Relative reduction of a collapse share, (baseline − treated) / baseline.

    Parameters
    ----------
    baseline
        Share of the same prompts and seed without the sink.
    treated
        Share with it.

    Returns
    -------
    float
        At most 1, negative where it grew; NaN where the baseline is 0 or a share is NaN.
    """
    return (baseline - treated) / baseline if baseline > 0 else float("nan")


def effective_support(
    attention: Float[np.ndarray, "*row key"], *, sink: Bool[np.ndarray, " key"] | None = None
) -> Float[np.ndarray, "*row"]:
    """Share of the tokens that a row effectively reads: exp(entropy) / number of tokens, without the sink.

    Parameters
    ----------
    attention
        ``(*row, key)`` float, at least 0.
    sink
        ``(key,)`` bool, the sink among the keys; none if its column is not there.

    Returns
    -------
    Float[np.ndarray, "*row"]
        ``(*row)`` float64 in (0, 1], 1 for uniform attention; NaN where a row has no attention outside the sink.

    Raises
    ------
    SettingsError
        If an attention is negative or not finite, or a row sums to more than 1.
    """
    kept = _without_sink(_checked(attention), sink)
    total = kept.sum(axis=-1, keepdims=True)
    share = np.divide(kept, total, out=np.full_like(kept, np.nan), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.asarray(np.exp(-(share * logs).sum(axis=-1)) / kept.shape[-1])


def sink_rate(
    attention: Float[np.ndarray, "*head row key"],
    *,
    threshold: float = 0.3,
    sink: Bool[np.ndarray, " key"] | None = None,
) -> float:
    """Share of heads in which some token other than the sink draws more than ``threshold`` of all rows' attention.

    The measure of Gu et al. (ICLR 2025), with the rows' mean over any key.

    Parameters
    ----------
    attention
        ``(*head, row, key)`` float, at least 0, say ``(block, head, row, key)``.
    threshold
        Mean incoming attention above which a token is an attention sink.
    sink
        ``(key,)`` bool, the sink among the keys; none if its column is not there.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    SettingsError
        If an attention is negative or not finite, or a row sums to more than 1.
    """
    incoming = _without_sink(_checked(attention), sink).mean(axis=-2)
    return float((incoming.max(axis=-1) > threshold).mean())


def _checked(attention: Float[np.ndarray, "*row key"]) -> Float[np.ndarray, "*row key"]:
    attention = attention.astype(np.float64)
    if not (np.isfinite(attention).all() and (attention >= 0).all()):
        raise SettingsError("expected finite attention of at least 0, found other values; pass it after the softmax")
    largest = attention.sum(axis=-1).max(initial=0.0)
    if largest > 1 + 1e-2:  # room for half precision
        raise SettingsError(f"expected rows of attention that sum to at most 1, found {largest}; average the heads")
    return attention


def _without_sink(
    attention: Float[np.ndarray, "*row key"], sink: Bool[np.ndarray, " key"] | None
) -> Float[np.ndarray, "*row token"]:
    return attention if sink is None else attention[..., ~sink]


def _mean_known(values: Float[np.ndarray, "*row"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
