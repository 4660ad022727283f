"""Peak of live tensors during a call, the same on any device.

Knows tensors as operators return them; what a kernel allocates and frees inside itself is not seen. Torch's own
``MemTracker`` sees no more, and refuses frozen parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary


def peak_bytes(call: Callable[[], object], *, uncounted: Iterable[Tensor], given: Iterable[Tensor] = ()) -> int:
    """Return the largest number of bytes in tensors that are alive at one moment of a call.

    A storage counts once, however many tensors look at it, from the operator that returns it until nothing refers to
    it, a graph that waits for its backward pass included.

    Parameters
    ----------
    call
        What is measured; what it returns is dropped.
    uncounted
        Tensors that exist before and do not count: weights, or an input that both sides of a ratio share.
    given
        Tensors that exist before and count throughout.
    """
    meter = _LiveTensors(uncounted, given)
    with meter:
        call()
    return meter.peak


class _LiveTensors(TorchDispatchMode):
    """Adds up the storages that are alive behind every operator."""

    def __init__(self, uncounted: Iterable[Tensor], given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: Any = WeakIdKeyDictionary()  # a storage leaves it with its last tensor
        for tensor in uncounted:
            self._sizes[tensor.untyped_storage()] = 0
        for tensor in given:
            self._count(tensor)
        self.peak: int = sum(self._sizes.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count what it returned."""
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._count, result)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._sizes:
            self._sizes[storage] = storage.nbytes()
