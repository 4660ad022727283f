"""The attraction loss: what the sink is for.

The literal form, to maximise the sink's mass, empties the informative mass; a plain price on kept mass shrinks it
while the read-out grows. So the sink is given targets: it should take the attention of rows that have nothing to
read, and no other.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_SMALLEST = 1e-6


def attraction_loss(
    sink_on_empty: Float[Tensor, "*empty"], sink_on_tiles: Float[Tensor, "*tiles"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the sink's share against "is there anything to read here?".

    Parameters
    ----------
    sink_on_empty
        Sink shares on group images without content: background, or noise without any spatial structure.
    sink_on_tiles
        Sink shares on group images of the field.
    """
    on_empty = sink_on_empty.clamp_min(_SMALLEST).log().mean()
    on_tiles = (1.0 - sink_on_tiles).clamp_min(_SMALLEST).log().mean()
    return -(on_empty + on_tiles)


def empty_images(
    count: int, height: int, width: int, generator: torch.Generator
) -> Float[Tensor, "count 3 height width"]:
    """Draw group images with nothing to read: background at the training mean, and white noise.

    Bands of noise look so after standardisation: independent from pixel to pixel and channel to channel. A third of
    the images are plain background, the others noise of a standard deviation between 0.1 and 1.2 of the training
    pixels'.
    """
    deviation = torch.rand(count, 1, 1, 1, generator=generator) * 1.1 + 0.1
    deviation[: count // 3] = 0.0
    return torch.randn(count, 3, height, width, generator=generator) * deviation
