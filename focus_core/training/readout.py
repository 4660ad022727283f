"""Which blocks of the frozen backbone are read: each choice is trained with one prompt seed, validation plots decide.

Late blocks know more, early ones know it where it is: their tokens have mixed with fewer others. Which of the two
serves a campaign depends on its backbone, and nothing but a try tells.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from focus_core.config import TrainSettings
from focus_core.model import Focus, evenly_spaced
from focus_core.training.prompts import fit
from focus_core.training.windows import Labelled

logger = logging.getLogger(__name__)

Blocks = tuple[int, ...]


def readable_blocks(depth: int, settings: TrainSettings) -> list[Blocks]:
    """Return the choices of blocks that settings name for a backbone of ``depth`` blocks, each once, in their order."""
    tried = itertools.product(settings.read_depth, settings.read_blocks)
    return list(dict.fromkeys(evenly_spaced(max(1, round(share * depth)), count) for share, count in tried))


def best_blocks(
    build: Callable[[Blocks, TrainSettings], Focus],
    depth: int,
    train: Labelled,
    validation: Labelled,
    settings: TrainSettings,
) -> Blocks:
    """Return the blocks with which a single prompt seed does best on validation plots; without a choice, the only ones.

    Parameters
    ----------
    build
        Gives an untrained model that reads some blocks.
    depth
        Blocks of the backbone.
    train, validation
        Windows of disjoint plots.
    settings
        Training settings; ``read_blocks`` and ``read_depth`` name the choices.
    """
    choices = readable_blocks(depth, settings)
    if len(choices) == 1:
        return choices[0]
    once = settings.model_copy(update={"prompt_seeds": 1, "group_dropout": settings.group_dropout[:1]})
    losses = {blocks: fit(build(blocks, once), train, validation, once).validation_loss for blocks in choices}
    logger.info("validation loss by the blocks that are read: %s", losses)
    return min(losses, key=losses.__getitem__)
