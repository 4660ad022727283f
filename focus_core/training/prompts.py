"""Train prompts, sink and read-out on a frozen backbone, and settle everything that the model records.

Sees labels and folds, never masks or reference bands.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor, nn

from focus_core.config import TrainSettings
from focus_core.model import Focus
from focus_core.training.cache import ContextCache
from focus_core.training.losses import attraction_loss, empty_images

logger = logging.getLogger(__name__)

_EMPTY_IMAGES = 12
_SINK_RATE = 10.0
"""Factor on the sink's learning rate: a key has to grow far before it counts among a frozen ViT's own."""
_GAIN = 0.05
"""Standard deviation of the brightness factor of an augmented copy: illumination differs between flights."""
_NOISE = 0.05
"""Standard deviation of the noise added to an augmented copy, in standard deviations of training pixels."""


class Labelled(NamedTuple):
    """Windows of labelled plots."""

    reflectance: Float[Tensor, "tile band ty tx"]
    label: Int[Tensor, " tile"]
    plot: Int[Tensor, " tile"]
    """Index of the plot; windows of one plot share it."""
    coverage: Float[Tensor, " tile"]
    """Weight of the window in its plot."""


@dataclass(frozen=True, kw_only=True)
class FitSummary:
    """How training went."""

    epochs: int
    train_loss: float
    validation_loss: float
    temperature: float
    parameters: int
    backbone_parameters: int


def fit(model: Focus, train: Labelled, validation: Labelled, settings: TrainSettings) -> FitSummary:
    """Train in place, keep the weights of the best validation epoch, calibrate and centre them.

    Parameters
    ----------
    model
        Fresh, on its frozen backbone.
    train, validation
        Windows of disjoint plots; the validation plots choose epoch and temperature.
    settings
        Training settings.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    with torch.no_grad():
        nn.init.normal_(model.prompts, std=0.02)
        images = _augmented(model, train, settings.augmented_copies, generator)
        held_out = model.front_end(validation.reflectance).images
    cache = ContextCache(model, images, budget_mb=settings.cache_budget_mb)
    checks = ContextCache(model, held_out, budget_mb=settings.cache_budget_mb)
    del images, held_out
    trainer = Trainer(model, cache, checks, train, validation, settings, generator)
    epochs, train_loss = trainer.run()
    temperature = _calibrate(model, checks, validation)
    _centre(model, cache, train)
    return FitSummary(
        epochs=epochs,
        train_loss=train_loss,
        validation_loss=trainer.best_loss,
        temperature=temperature,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        backbone_parameters=sum(parameter.numel() for parameter in model.vit.parameters()),
    )


class Trainer:
    """One training run; the frozen backbone is not touched, only its cached keys and values.

    Parameters
    ----------
    model
        Fresh, on its frozen backbone; trained in place.
    cache, checks
        Frozen forward passes of the training tiles, with their augmented copies behind them, and of the validation
        tiles.
    train, validation
        Labels, plots and coverage of the same tiles.
    settings
        Training settings.
    generator
        Draws order, dropped groups and empty images.
    """

    def __init__(
        self,
        model: Focus,
        cache: ContextCache,
        checks: ContextCache,
        train: Labelled,
        validation: Labelled,
        settings: TrainSettings,
        generator: torch.Generator,
    ) -> None:
        self.model, self.cache, self.checks = model, cache, checks
        self.validation, self.settings, self.generator = validation, settings, generator
        copies = len(cache) // len(train.label)
        self.label = train.label.repeat(copies)
        self.class_weight = _class_weight(train.label, len(model.spec.classes))
        size = model.front_end.input_px
        empty = empty_images(_EMPTY_IMAGES, size, size, generator)
        self.empty = model.encode(empty[:, None].expand(-1, len(model.spec.groups), -1, -1, -1))
        self.best_loss = float("inf")

    def run(self) -> tuple[int, float]:
        """Train until the validation loss stops falling; return epochs and the last training loss."""
        settings = self.settings
        decayed = {"params": [self.model.prompts, self.model.read_out], "weight_decay": settings.weight_decay}
        parameters = [decayed, {"params": [self.model.class_bias], "weight_decay": 0.0}]
        if self.model.sink_keys is not None:
            rate = _SINK_RATE * settings.learning_rate
            parameters.append({"params": [self.model.sink_keys], "weight_decay": 0.0, "lr": rate})
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
        best, best_epoch, loss = copy.deepcopy(self.model.state_dict()), 0, float("nan")
        with Progress(transient=True) as progress:
            task = progress.add_task("train", total=settings.epochs)
            for epoch in range(1, settings.epochs + 1):
                loss = self.epoch(optimiser)
                schedule.step()
                check = self._validation_loss()
                logger.info("train epoch %d: loss %.4f, validation %.4f", epoch, loss, check)
                progress.update(task, advance=1, description=f"train (validation loss {check:.3f})")
                if check < self.best_loss:
                    self.best_loss, best_epoch = check, epoch
                    best = copy.deepcopy(self.model.state_dict())
                elif epoch - best_epoch >= settings.patience:
                    break
        self.model.load_state_dict(best)
        return best_epoch, loss

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

    def _loss(self, part: Int[Tensor, " part"]) -> Float[Tensor, ""]:
        """Cross-entropy with whole groups left out at random, so that every informative group is used."""
        reading = self.model.read(self.cache.take(part))
        keep = 1.0 - self.settings.group_dropout
        kept = torch.rand(len(part), 1, reading.evidence.shape[2], generator=self.generator) < keep
        logits = self.model.logits(reading.evidence * kept / keep)
        loss = nn.functional.cross_entropy(logits, self.label[part], weight=self.class_weight)
        if self.model.sink_keys is not None:
            on_empty = self.model.read(self.empty).sink_share
            loss = loss + self.settings.attraction_weight * attraction_loss(on_empty, reading.sink_share)
        return loss

    @torch.no_grad()
    def _validation_loss(self) -> float:
        logits = plot_logits(self.model.logits(evidence_of(self.model, self.checks)), self.validation)
        return nn.functional.cross_entropy(logits, plot_labels(self.validation)).item()


@torch.no_grad()
def evidence_of(model: Focus, cache: ContextCache, batch_tiles: int = 32) -> Float[Tensor, "tile cls group"]:
    """Return the evidence of every cached tile."""
    return torch.cat([model.read(cache.take(part)).evidence for part in torch.arange(len(cache)).split(batch_tiles)])


def plot_logits(logits: Float[Tensor, "tile cls"], data: Labelled) -> Float[Tensor, "plot cls"]:
    """Return each plot's logit: the coverage-weighted mean of its windows'."""
    plots = int(data.plot.max()) + 1
    weight = torch.zeros(plots).index_add(0, data.plot, data.coverage)
    total = torch.zeros(plots, logits.shape[1]).index_add(0, data.plot, logits * data.coverage[:, None])
    return total / weight[:, None]


def plot_labels(data: Labelled) -> Int[Tensor, " plot"]:
    """Return each plot's label."""
    labels = torch.zeros(int(data.plot.max()) + 1, dtype=torch.int64)
    labels[data.plot] = data.label
    return labels


def _augmented(
    model: Focus, data: Labelled, copies: int, generator: torch.Generator
) -> Float[Tensor, "tile group 3 height width"]:
    """Return the group images of the tiles, followed by flipped, brighter or darker, noisier copies."""
    parts = [model.front_end(data.reflectance).images]
    for _ in range(copies):
        gain = 1.0 + _GAIN * torch.randn(len(data.label), 1, 1, 1, generator=generator)
        axes = [axis for axis in (2, 3) if torch.rand((), generator=generator) < 0.5]
        images = model.front_end((data.reflectance * gain).flip(axes)).images
        parts.append(images + _NOISE * torch.randn(images.shape, generator=generator))
    return torch.cat(parts)


def _class_weight(label: Int[Tensor, " tile"], classes: int) -> Float[Tensor, " cls"]:
    counts = torch.bincount(label, minlength=classes).clamp_min(1)
    return len(label) / (classes * counts.float())


@torch.no_grad()
def _calibrate(model: Focus, checks: ContextCache, validation: Labelled) -> float:
    """Scale read-out and bias by one temperature that fits the validation windows (Guo et al., ICML 2017).

    Windows, because a handful of validation plots is soon classified without a mistake, and then no confidence is
    too high for them. Evidence scales with the temperature, so that it still adds up to the logit.
    """
    logits = model.logits(evidence_of(model, checks))
    temperatures = torch.logspace(-1.0, 1.0, 81)
    losses = torch.stack([nn.functional.cross_entropy(logits / t, validation.label) for t in temperatures])
    best = float(temperatures[losses.argmin()])
    model.read_out.div_(best)
    model.class_bias.div_(best)
    return best


@torch.no_grad()
def _centre(model: Focus, cache: ContextCache, train: Labelled) -> None:
    """Record the mean contrastive evidence of the reference class, or of all classes weighted alike.

    Each plot counts once, and its windows by coverage; only the tiles themselves count, not their copies.
    """
    evidence = model.contrastive(evidence_of(model, cache)[: len(train.label)])
    per_plot = plot_logits(evidence.flatten(1), train).unflatten(1, tuple(evidence.shape[1:]))
    labels = plot_labels(train)
    classes = model.spec.classes
    named = model.spec.reference_class
    wanted = [classes.index(named)] if named else sorted(set(labels.tolist()))
    means = [per_plot[labels == index].mean(dim=0) for index in wanted]
    model.reference_mean.copy_(torch.stack(means).mean(dim=0))
