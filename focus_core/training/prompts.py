"""Train prompts, sink and read-out on a frozen backbone, and settle everything that the model records.

Sees labels and folds, never masks or reference bands.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.config import TrainSettings
from focus_core.model import CPU, Focus, placement
from focus_core.training.cache import ContextCache
from focus_core.training.trainer import Run, Trainer, validation_loss
from focus_core.training.windows import Labelled, augmented, plot_labels, plot_means

_CHECK_SEED = 0
"""Of the mixed validation windows: the same for every training seed, so that runs compare."""


@dataclass(frozen=True, kw_only=True)
class FitSummary:
    """How training went."""

    epochs: float
    """Passes over the training tiles, mean over prompt seeds, as is the loss."""
    train_loss: float
    validation_loss: float
    """Of mixed validation windows; choices are made by it."""
    temperature: float
    parameters: int
    backbone_parameters: int


def fit(model: Focus, train: Labelled, validation: Labelled, settings: TrainSettings) -> FitSummary:
    """Train in place, keep what does best on validation plots, calibrate and centre it; leave it on the processor.

    Whole groups may be left out at random while prompts train, so that evidence is taken from all groups that carry it
    and not from a sufficient few; how many is chosen among ``settings.group_dropout`` by the first prompt seed.

    Parameters
    ----------
    model
        On its frozen backbone.
    train, validation
        Windows of disjoint plots; the validation plots choose dropout, epoch and temperature.
    settings
        Training settings.
    """
    windows = augmented(model, train, settings.augmented_copies, torch.Generator().manual_seed(settings.seed))
    held_out = augmented(model, validation, 1, torch.Generator().manual_seed(_CHECK_SEED))
    model.place(placement(settings.device))
    cache = ContextCache(model, windows.images, budget_mb=settings.cache_budget_mb)
    checks = ContextCache(model, held_out.images, budget_mb=settings.cache_budget_mb)

    def run(prompt_seed: int, dropout: float) -> Run:
        trainer = Trainer(model, cache, windows, settings, prompt_seed=prompt_seed, group_dropout=dropout)
        return trainer.run(checks, held_out)

    first = min((run(0, dropout) for dropout in settings.group_dropout), key=lambda found: found.validation_loss)
    runs = [first, *(run(prompt_seed, first.group_dropout) for prompt_seed in range(1, len(model.rows)))]
    for rows, found in zip(model.rows, runs, strict=True):
        rows.load_state_dict(found.weights)
    # Sides of windows, because a handful of whole plots is soon classified without a mistake, and then no confidence
    # is too high for them. Evidence scales with the temperature, so that it still adds up to the logit.
    loss, temperature = validation_loss(model, checks, held_out)
    with torch.no_grad():
        for rows in model.rows:
            rows.loading.div_(temperature)
            rows.class_bias.div_(temperature)
    _centre(model, cache, train)
    model.place(CPU)
    model.spec = model.spec.model_copy(update={"group_dropout": first.group_dropout})
    return FitSummary(
        epochs=statistics.fmean(found.epoch for found in runs),
        train_loss=statistics.fmean(found.train_loss for found in runs),
        validation_loss=loss,
        temperature=temperature,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        backbone_parameters=sum(parameter.numel() for parameter in model.vit.parameters()),
    )


@torch.no_grad()
def evidence_of(model: Focus, cache: ContextCache, batch_tiles: int = 32) -> Float[Tensor, "tile cls seed group"]:
    """Return the evidence of every cached tile, by prompt seed."""
    parts = torch.arange(len(cache)).split(batch_tiles)
    return torch.cat([model.read(cache.take(part)).seed_evidence for part in parts])


@torch.no_grad()
def _centre(model: Focus, cache: ContextCache, train: Labelled) -> None:
    """Record the mean contrastive evidence of the reference class, or of all classes weighted alike.

    Each plot counts once, and its windows by coverage; only the tiles themselves count, not their copies.
    """
    evidence = model.contrastive(evidence_of(model, cache)[: len(train.label)]).cpu()
    per_plot = plot_means(evidence, train)
    labels = plot_labels(train)
    classes = model.spec.classes
    named = model.spec.reference_class
    wanted = [classes.index(named)] if named else sorted(set(labels.tolist()))
    means = [per_plot[labels == index].mean(dim=0) for index in wanted]
    model.reference_mean.copy_(torch.stack(means).mean(dim=0))
