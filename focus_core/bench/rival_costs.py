"""What the rivals cost on the same group images, beside the same plain forward pass.

Knows the rivals' interface; their heads and prompts are random, because cost does not depend on them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.bench.memory import peak_bytes
from focus_core.bench.timing import LONG_S, paired_ratios, seconds_of
from focus_core.model.blocks import Vit
from focus_core.rivals import LinearHead, PromptCam, Rival, rivals_on_tiles

logger = logging.getLogger(__name__)

_REFERENCE_TILES = 4


def rival_costs(
    vit: Vit,
    images: Float[Tensor, "group 3 height width"],
    plain: Callable[[], object],
    plain_peak: int,
    *,
    classes: int,
    repeats: int,
) -> Mapping[str, dict[str, list[float]]]:
    """Return each rival's ``overhead_time`` and ``overhead_memory``, by its name.

    Parameters
    ----------
    vit
        The frozen backbone.
    images
        Group images of one tile, which every rival explains for all classes.
    plain
        The plain forward pass on them.
    plain_peak
        Its peak of live tensors, the images included, bytes.
    classes
        How many.
    repeats
        Pairs behind a ratio of times; a rival that takes long is run once.
    """
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(_REFERENCE_TILES, *images.shape, generator=generator).to(images)
    weight = torch.randn(classes, len(images), vit.embed_dim, generator=generator).to(images)
    head = LinearHead(vit, weight, images.new_zeros(classes))
    prompts = PromptCam(vit, classes=classes, groups=len(images)).to(images.device)
    before = [*vit.parameters(), *vit.buffers(), *head.buffers(), *prompts.parameters(), *prompts.buffers(), reference]
    costs = {}
    for rival in (*rivals_on_tiles(head, reference), prompts):
        logger.info("an explanation by %s", rival.name)
        costs[rival.name] = _costs_of(rival, images, before, plain, plain_peak, repeats)
    return costs


def _costs_of(
    rival: Rival,
    images: Float[Tensor, "group 3 height width"],
    before: list[Tensor],
    plain: Callable[[], object],
    plain_peak: int,
    repeats: int,
) -> dict[str, list[float]]:
    peaks: list[int] = []

    def metered() -> None:
        peaks.append(peak_bytes(lambda: rival.explain(images[None]), uncounted=before, given=[images]))

    below, above = seconds_of(plain), seconds_of(metered)
    # What is long is not run again: the meter's microseconds for each operator are little beside it.
    long = above > LONG_S
    ratios = [above / below] if long else paired_ratios(lambda: rival.explain(images[None]), plain, repeats=repeats)
    return {"overhead_time": ratios, "overhead_memory": [peaks[0] / plain_peak]}
