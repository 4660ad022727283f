"""One run of prompt training on cached forward passes, and the validation loss that every choice is made by.

Knows windows and their classes; does not know plots.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from focus_core.config import TrainSettings
from focus_core.model import BlockTokens, Focus, Reading
from focus_core.training.cache import ContextCache
from focus_core.training.losses import Sides, attraction_loss, empty_images, sides
from focus_core.training.mixing import Mixed
from focus_core.training.windows import class_weight

logger = logging.getLogger(__name__)

_EMPTY_IMAGES = 12
_SINK_RATE = 10.0
"""Factor on the sink's learning rate: a key has to grow far before it counts among a frozen ViT's own."""
_TEMPERATURES = torch.logspace(-1.0, 1.0, 81)
_CHECK_TILES, _CHECK_DRAWS = 32, 4


class Trainer:
    """One training run; the frozen backbone is not touched, only its cached keys and values.

    Parameters
    ----------
    model
        Initialised, on its frozen backbone; trained in place.
    cache
        Frozen forward passes of the training windows.
    windows
        What they show; their images are not looked at again.
    settings
        Training settings.
    generator
        Draws order, dropped groups and empty images.
    group_dropout
        Share of the wavelength groups left out in a step.
    """

    def __init__(
        self,
        model: Focus,
        cache: ContextCache,
        windows: Mixed,
        settings: TrainSettings,
        generator: torch.Generator,
        *,
        group_dropout: float,
    ) -> None:
        self.model, self.cache, self.windows = model, cache, windows
        self.settings, self.generator, self.keep = settings, generator, 1.0 - group_dropout
        self.class_weight = class_weight(windows.label, len(model.spec.classes))
        self.empty = self._empty() if model.spec.sink and settings.attraction_weight else None

    def run(self, validate: Callable[[], tuple[float, float]]) -> tuple[float, int, float, dict[str, Tensor]]:
        """Train until the validation loss stops falling; return it, its epoch, the training loss and the weights."""
        settings = self.settings
        optimiser = torch.optim.AdamW(self._parameter_groups(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
        found: tuple[float, int, float, dict[str, Tensor]] = (float("inf"), 0, float("nan"), {})
        with Progress(transient=True) as progress:
            task = progress.add_task("train", total=settings.epochs)
            for epoch in range(1, settings.epochs + 1):
                loss = self.epoch(optimiser)
                schedule.step()
                check, _ = validate()
                logger.info("train epoch %d: loss %.4f, validation %.4f", epoch, loss, check)
                progress.update(task, advance=1, description=f"train (validation loss {check:.3f})")
                if check < found[0]:
                    found = (check, epoch, loss, copy.deepcopy(self.model.state_dict()))
                elif epoch - found[1] >= settings.patience:
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

    def _parameter_groups(self) -> list[dict[str, Any]]:
        named = dict(self.model.named_parameters())
        bias, sink = named.pop("class_bias"), [named.pop(name) for name in list(named) if name.startswith("sink")]
        return [
            {"params": list(named.values()), "weight_decay": self.settings.weight_decay},
            {"params": [bias], "weight_decay": 0.0},
            {"params": sink, "weight_decay": 0.0, "lr": _SINK_RATE * self.settings.learning_rate},
        ]

    def _loss(self, part: Int[Tensor, " part"]) -> Float[Tensor, ""]:
        reading = self.model.read(self.cache.take(part))
        groups = reading.said.shape[2]
        kept = torch.rand(len(part), 1, groups, 1, generator=self.generator) < self.keep
        loss = _sides(self.model, reading, kept / self.keep, self.windows, part).loss(self.class_weight)
        if self.empty is not None:
            on_empty = self.model.read(self.empty()).sink_share
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


def _sides(
    model: Focus, reading: Reading, kept: Float[Tensor, "part 1 group 1"], windows: Mixed, part: Int[Tensor, " part"]
) -> Sides:
    words = (model.contrastive(reading.said) * kept.to(reading.said.device)).sum(dim=2)
    return sides(words, model.class_bias, windows.take(part))


@torch.no_grad()
def validation_loss(
    model: Focus, checks: ContextCache, windows: Mixed, *, keep: float = 0.5, seed: int = 0
) -> tuple[float, float]:
    """Score what a model must be good at: every side of a window says its class, from any half of the groups.

    At the best temperature, because the model is calibrated once it is trained.

    Parameters
    ----------
    model
        In training.
    checks
        Frozen forward passes of validation windows.
    windows
        What they show.
    keep
        Share of the groups that is kept.
    seed
        Of the groups left out; equal ones compare.

    Returns
    -------
    tuple
        The loss, and the temperature (Guo et al., ICML 2017) at which it is least.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in torch.arange(len(checks)).split(_CHECK_TILES):
        reading = model.read(checks.take(part))
        for _ in range(_CHECK_DRAWS if keep < 1.0 else 1):
            kept = torch.rand(len(part), 1, reading.said.shape[2], 1, generator=generator) < keep
            found.append(_sides(model, reading, kept / keep, windows, part))
    every = Sides(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))
    weight = class_weight(windows.label, len(model.spec.classes))
    losses = torch.stack([every._replace(logit=every.logit / t).loss(weight) for t in _TEMPERATURES])
    return float(losses.min()), float(_TEMPERATURES[int(losses.argmin())])
