"""Time of one call as a ratio to another's, on a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

LONG_S = 5.0
"""A call that takes longer, s, is not repeated: noise averages out within it."""


def paired_ratios(call: Callable[[], object], base: Callable[[], object], *, repeats: int) -> list[float]:
    """Time two calls in turn and return the ratio of each pair, so that a change of load meets both.

    The first pair warms both up and is left out.

    Parameters
    ----------
    call
        What is measured.
    base
        What it is compared with, each time directly before it.
    repeats
        Pairs.
    """
    ratios = []
    for _ in range(repeats + 1):
        below = seconds_of(base)
        ratios.append(seconds_of(call) / below)
    return ratios[1:]


def seconds_of(call: Callable[[], object]) -> float:
    """Return the wall time of a call, s, until the accelerator has finished too."""
    _wait()
    started = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
