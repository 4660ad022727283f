"""What every rival on tiles gives, so that one bench scores them all."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


class RivalExplanation(NamedTuple):
    """One rival's explanation of a batch of tiles, for every class; ``None`` is "n/a", which is not a win."""

    importance: Float[Tensor, "tile cls group"] | None
    """The spectral read-out; signed where the method is."""
    saliency: Float[Tensor, "tile cls group py px"] | None
    """The map on the patch grid, in the method's own unit."""


@runtime_checkable
class Rival(Protocol):
    """A method that explains a classifier on the frozen features."""

    name: str
    """Fixed name, the first part of its metrics."""
    read_out: str
    """How a curve over groups is read, or why there is none."""

    def explain(self, images: Float[Tensor, "tile group 3 height width"]) -> RivalExplanation:
        """Explain the standardised group images of a batch of tiles."""
        ...
