"""Training of one prompt seed on cached forward passes, and the validation loss that every choice is made by.

Knows windows and their classes; does not know plots.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from focus_core.config import TrainSettings
from focus_core.model import BlockTokens, Focus, Reading
from focus_core.training.cache import ContextCache
from focus_core.training.losses import Sides, attraction_loss, empty_images, likeness, patch_loss, roughness, sides
from focus_core.training.mixing import Mixed
from focus_core.training.windows import class_weight

logger = logging.getLogger(__name__)

_EMPTY_IMAGES = 12
_SINK_RATE = 10.0
"""Factor on the sink's learning rate: a key has to grow far before it counts among a frozen ViT's own."""
_TEMPERATURES = torch.logspace(-1.0, 1.0, 81)
_CHECK_TILES = 32


class Run(NamedTuple):
    """What a training run found."""

    validation_loss: float
    """The least."""
    epoch: int
    """In which it was found."""
    train_loss: float
    """Mean of that epoch."""
    weights: dict[str, Tensor]
    """Of the rows, after that epoch."""
    group_dropout: float


class Trainer:
    """One training run; the frozen backbone is not touched, only its cached keys and values.

    Parameters
    ----------
    model
        On its frozen backbone; trained in place.
    cache
        Frozen forward passes of the training windows.
    windows
        What they show; their images are not looked at again.
    settings
        Training settings.
    prompt_seed
        Number of the rows to train; they are drawn anew.
    group_dropout
        Share of the wavelength groups left out in a step.
    """

    def __init__(
        self,
        model: Focus,
        cache: ContextCache,
        windows: Mixed,
        settings: TrainSettings,
        *,
        prompt_seed: int,
        group_dropout: float,
    ) -> None:
        self.model, self.cache, self.windows = model, cache, windows
        self.settings, self.group_dropout = settings, group_dropout
        self.seeds, self.rows = (prompt_seed,), model.rows[prompt_seed]
        # Draws the rows, order, dropped groups and empty images.
        self.generator = torch.Generator().manual_seed(settings.seed + prompt_seed)
        self.rows.initialise(self.generator)
        self.class_weight = class_weight(windows.label, len(model.spec.classes))
        self.likeness = likeness(model.spec.groups).to(model.placement.device)
        self.empty = self._empty() if model.spec.sink and settings.attraction_weight else None

    def run(self, checks: ContextCache, held_out: Mixed) -> Run:
        """Train until the loss of some validation windows stops falling; return what was found where it is least."""
        settings = self.settings
        optimiser = self.optimiser()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
        found = Run(float("inf"), 0, float("nan"), {}, self.group_dropout)
        with Progress(transient=True) as progress:
            task = progress.add_task("train", total=settings.epochs)
            for epoch in range(1, settings.epochs + 1):
                loss = self.epoch(optimiser)
                schedule.step()
                check, _ = validation_loss(self.model, checks, held_out, seeds=self.seeds)
                logger.info("train epoch %d: loss %.4f, validation %.4f", epoch, loss, check)
                progress.update(task, advance=1, description=f"train (validation loss {check:.3f})")
                if check < found.validation_loss:
                    found = Run(check, epoch, loss, copy.deepcopy(self.rows.state_dict()), self.group_dropout)
                elif epoch - found.epoch >= settings.patience:
                    break
        return found

    def epoch(self, optimiser: torch.optim.Optimizer) -> float:
        """Pass once over the training tiles; return the mean loss."""
        order = torch.randperm(len(self.cache), generator=self.generator)
        total = 0.0
        for part in order.split(self.settings.batch_tiles):
            loss = self._loss(part)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(part)
        return total / len(order)

    def optimiser(self) -> torch.optim.Optimizer:
        """Return an optimiser of the rows' parameters, with nothing learned of them yet."""
        rate, named = self.settings.learning_rate, dict(self.rows.named_parameters())
        sink = [named.pop(name) for name in list(named) if name.startswith("sink")]
        groups: list[dict[str, Any]] = [{"params": list(named.values())}, {"params": sink, "lr": _SINK_RATE * rate}]
        return torch.optim.Adam(groups, lr=rate)

    def _loss(self, part: Int[Tensor, " part"]) -> Float[Tensor, ""]:
        reading = self.model.read(self.cache.take(part), self.seeds)
        kept = _some_groups(reading, 1.0 - self.group_dropout, self.generator)
        words = _words(self.model, reading.said * kept.to(reading.said.device))
        said = (words, self.model.class_bias(self.seeds), self.windows.take(part))
        loss = sides(*said).loss(self.class_weight)
        if weight := self.settings.patch_weight:
            loss = (loss + weight * patch_loss(*said, self.class_weight)) / (1.0 + weight)
        loss = loss + self.settings.smoothness * roughness(self.rows.loading, self.likeness)
        loss = loss + self.settings.ridge * self.rows.loading.square().sum()
        if self.empty is not None:
            on_empty = self.model.read(self.empty(), self.seeds).sink_share
            loss = loss + self.settings.attraction_weight * attraction_loss(on_empty, reading.sink_share)
        return loss

    def _empty(self) -> Callable[[], tuple[BlockTokens, ...]]:
        """Draw the images with nothing to read; return what gives their forward pass at each step."""
        size = self.model.front_end.input_px
        empty = empty_images(_EMPTY_IMAGES, size, size, self.generator)
        images = empty[:, None].expand(-1, len(self.model.spec.groups), -1, -1, -1)
        if not self.model.cacheable:
            return functools.partial(self.model.encode, images)
        tokens = self.model.encode(images)
        return lambda: tokens


def _some_groups(reading: Reading, keep: float, generator: torch.Generator) -> Float[Tensor, "part 1 group 1"]:
    """Draw the groups that are not left out of each window, and what their evidence counts for them all."""
    part, _, groups, _ = reading.said.shape
    return (torch.rand(part, 1, groups, 1, generator=generator) < keep) / keep


def _words(model: Focus, said: Float[Tensor, "part cls group token"]) -> Float[Tensor, "part cls token"]:
    """Return what each token says of each class against the others, all groups together."""
    return model.contrastive(said).sum(dim=2)


@torch.no_grad()
def validation_loss(
    model: Focus, checks: ContextCache, windows: Mixed, *, seeds: Sequence[int] | None = None
) -> tuple[float, float]:
    """Score what a model must be good at: every side of a window says its class.

    At the best temperature, because the model is calibrated once it is trained.

    Parameters
    ----------
    model
        In training.
    checks
        Frozen forward passes of validation windows.
    windows
        What they show.
    seeds
        Which prompt seeds are scored, by their mean; all by default.

    Returns
    -------
    tuple
        The loss, and the temperature (Guo et al., ICML 2017) at which it is least.
    """
    found = []
    for part in torch.arange(len(checks)).split(_CHECK_TILES):
        said = model.read(checks.take(part), seeds).said
        found.append(sides(_words(model, said), model.class_bias(seeds), windows.take(part)))
    every = Sides(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))
    weight = class_weight(windows.label, len(model.spec.classes))
    losses = torch.stack([every._replace(logit=every.logit / t).loss(weight) for t in _TEMPERATURES])
    return float(losses.min()), float(_TEMPERATURES[int(losses.argmin())])
