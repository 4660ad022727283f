"""The losses of prompt training: sides of windows and single patches say their class, neighbours are alike, the sink.

The literal attraction loss, to maximise the sink's mass, empties the informative mass; a plain price on kept mass
shrinks it while the read-out grows. So the sink is given targets: it should take the attention of rows that have
nothing to read, and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from focus_core.model import GroupRange
from focus_core.training.mixing import Mixed

_SMALLEST = 1e-6
_ALIKE_NM = 50.0


class Sides(NamedTuple):
    """What each side of some windows says, and what it is; two rows for each window."""

    logit: Float[Tensor, "side cls"]
    label: Int[Tensor, " side"]
    share: Float[Tensor, " side"]
    """Of the window; 0 for the far side of one that is not cut."""

    def loss(self, class_weight: Float[Tensor, " cls"]) -> Float[Tensor, ""]:
        """Return the cross-entropy of what each side says, weighted by class and share, mean over windows."""
        weight = class_weight.to(self.logit.device)
        each = nn.functional.cross_entropy(self.logit, self.label, weight=weight, reduction="none")
        return 2.0 * (each * self.share).mean()


def sides(words: Float[Tensor, "tile cls token"], bias: Float[Tensor, " cls"], windows: Mixed) -> Sides:
    """Return both sides of some windows; a side's logit is scaled up as if the whole window looked like it.

    Parameters
    ----------
    words
        Contrastive evidence of each token, summed over groups. Tokens before the patches count on both sides.
    bias
        Of the classes.
    windows
        The same windows, on any device.
    """
    region, label, other = (each.to(words.device) for each in (windows.region, windows.label, windows.other))
    prefix = words.shape[-1] - region.shape[-1]
    placeless, patches = words[..., :prefix].sum(dim=-1), words[..., prefix:]
    logits, shares = [], []
    for side in (1.0 - region, region):
        share = side.mean(dim=-1)
        logits.append(placeless + (patches * side[:, None]).sum(dim=-1) / share.clamp_min(_SMALLEST)[:, None] + bias)
        shares.append(share)
    return Sides(torch.cat(logits), torch.cat([label, other]), torch.cat(shares))


def patch_loss(
    words: Float[Tensor, "tile cls token"],
    bias: Float[Tensor, " cls"],
    windows: Mixed,
    class_weight: Float[Tensor, " cls"],
) -> Float[Tensor, ""]:
    """Return the cross-entropy of what each patch by itself says, weighted by class, mean over patches in plots.

    A patch's logit is scaled up as if the whole window looked like it. That the class need not show in every patch of
    a plot makes the label noisy and the logits timid, which a temperature mends, and changes no order of patches.

    Parameters
    ----------
    words
        Contrastive evidence of each token, summed over groups; tokens before the patches are not looked at.
    bias
        Of the classes.
    windows
        The same windows, on any device.
    class_weight
        Of the classes.
    """
    region, label, other, inside = (
        each.to(words.device) for each in (windows.region, windows.label, windows.other, windows.inside)
    )
    patches = region.shape[-1]
    logit = words[..., -patches:] * patches + bias[None, :, None]
    wanted = torch.where(region > 0, other[:, None], label[:, None])
    each = nn.functional.cross_entropy(logit, wanted, weight=class_weight.to(words.device), reduction="none")
    return (each * inside).sum() / inside.sum().clamp_min(_SMALLEST)


def likeness(groups: Sequence[GroupRange]) -> Float[Tensor, " pair"]:
    """Return how alike each group and the next are to be read: 1 where they coincide, 1/e at 50 nm between centres.

    What water, pigments and structure absorb in a leaf is that wide and wider (Jacquemoud and Baret 1990, *PROSPECT*,
    Remote Sensing of Environment 34); so 50 nm groups share what they are read for, and wide ones do not.
    """
    centre = torch.tensor([(group.lo_nm + group.hi_nm) / 2 for group in groups])
    return torch.exp(-(centre[1:] - centre[:-1]) / _ALIKE_NM)


def roughness(loading: Float[Tensor, "block group cls rank"], likeness: Float[Tensor, " pair"]) -> Float[Tensor, ""]:
    """Return the squared differences between what neighbouring groups are read along, weighted by their likeness."""
    return ((loading[:, 1:] - loading[:, :-1]).square() * likeness[:, None, None]).sum()


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
