"""The optimiser loop that every way of training a backbone shares: batches, flips, warm-up and clipped gradients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor, nn

from focus_core.config import PretrainSettings

logger = logging.getLogger(__name__)

BatchLoss = Callable[[Float[Tensor, "item *rest"], Int[Tensor, " item"]], Float[Tensor, ""]]
"""Loss of some flipped images; the second argument says which of all they are."""


def epoch_losses(
    model: nn.Module,
    images: Float[Tensor, "item *group 3 height width"],
    loss_of: BatchLoss,
    settings: PretrainSettings,
    *,
    batch: int,
    generator: torch.Generator,
) -> Iterator[float]:
    """Train a model in place; yield the mean loss of each epoch, so that the caller can look at the model between them.

    Parameters
    ----------
    model
        On its device.
    images
        Standardised group images, one in each item or those of a window.
    loss_of
        Places a batch on the device and gives its loss.
    settings
        Epochs and learning rate.
    batch
        Items in a step.
    generator
        Draws order and flips; ``loss_of`` may draw from it too.
    """
    batches = len(images) // batch + 1
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.05)
    steps = settings.epochs * batches
    schedule = torch.optim.lr_scheduler.ChainedScheduler(
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.05, total_iters=max(1, steps // 10)),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps),
        ]
    )
    for epoch in track(range(settings.epochs), description="pretrain", transient=True):
        total = 0.0
        for part in torch.randperm(len(images), generator=generator).tensor_split(batches):
            loss = loss_of(_flipped(images[part], generator), part)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(part)
        logger.info("pretrain epoch %d: loss %.4f", epoch + 1, total / len(images))
        yield total / len(images)


def _flipped(images: Float[Tensor, "item *rest"], generator: torch.Generator) -> Float[Tensor, "item *rest"]:
    """Flip a batch along y, x or both: a stand has no up or down."""
    axes = [axis for axis in (-2, -1) if torch.rand((), generator=generator) < 0.5]
    return images.flip(axes) if axes else images
