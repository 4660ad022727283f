"""What an explanation costs beside a plain forward pass of the same frozen backbone on the same group images.

Knows models and rivals; every ratio is of one run. Weights are random and the window is noise: cost depends on
neither.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import timm
import torch
from jaxtyping import Float
from torch import Tensor

from focus_core.bench.epochs import cached_epoch_ratios
from focus_core.bench.flops import explain_flops, token_per_band_flops
from focus_core.bench.memory import peak_bytes
from focus_core.bench.noise import BANDS, random_focus
from focus_core.bench.rival_costs import rival_costs
from focus_core.bench.timing import paired_ratios
from focus_core.errors import SettingsError
from focus_core.model.blocks import Vit

logger = logging.getLogger(__name__)

MODELS = {"ViT-Ti": "vit_tiny_patch16_224", "ViT-S": "vit_small_patch16_224", "ViT-B": "vit_base_patch16_224"}
"""Backbones of timm by the names that ``focus bench explain --models`` takes."""
TARGETS = {
    "focus.overhead_time.vit_small.c4": 1.10,
    "focus.overhead_time.vit_small.c32": 1.20,
    "focus.overhead_time.vit_tiny.c4": 1.20,
    "focus.overhead_time.vit_tiny.c32": 1.30,
    "focus.overhead_memory.vit_small.c4": 1.15,
    "focus.overhead_memory.vit_tiny.c4": 1.15,
    "focus.cached_epoch_time.vit_small.c4": 0.15,
    "focus.cached_epoch_time.vit_tiny.c4": 0.15,
}
"""The largest ratio that is good enough."""

_CLASSES = (4, 32)


def backbones(names: Sequence[str]) -> dict[str, Vit]:
    """Build backbones with random weights, under the names that metrics use.

    Raises
    ------
    SettingsError
        If a name is not one of `MODELS`.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise SettingsError(f"no backbone {', '.join(unknown)} in this bench; known: {', '.join(MODELS)}")
    torch.manual_seed(1)
    return {MODELS[name].removesuffix("_patch16_224"): timm.create_model(MODELS[name], num_classes=0) for name in names}


def default_names() -> list[str]:
    """Return the backbones that this machine measures in minutes: ViT-B on an accelerator only."""
    return list(MODELS) if torch.cuda.is_available() else ["ViT-Ti", "ViT-S"]


def run(vits: Mapping[str, Vit], *, rivals: bool, repeats: int = 15, epoch_tiles: int = 8) -> dict[str, list[float]]:
    """Measure FOCUS, and its rivals, on each backbone.

    The plain pass is ``forward_features`` on the group images of one window, in inference mode. An explanation is
    ``Focus.explain`` from that window's reflectance (200 bands at the backbone's own size, 8 groups), front end
    included, for all classes. Peaks count neither weights nor the window on either side, and the group images on
    both.

    Parameters
    ----------
    vits
        Frozen backbones by name.
    rivals
        Whether to measure the rivals too; that takes most of the time.
    repeats
        Pairs behind each ratio of times.
    epoch_tiles
        Tiles in an epoch of prompt training.

    Returns
    -------
    dict[str, list[float]]
        ``<method>.<measure>.<backbone>.c<classes>``: ``overhead_time``, ``overhead_memory``, ``cached_epoch_time``,
        ``time_over_one_image`` and, by formula, ``flops_over_token_per_band``. A ratio of times has a value for each
        pair; its median is the figure.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values: dict[str, list[float]] = {}
    for name, vit in vits.items():
        few = _CLASSES[0]
        logger.info("%s: an epoch of prompt training", name)
        ratios = cached_epoch_ratios(random_focus(vit.cpu(), few), tiles=epoch_tiles)
        values[f"focus.cached_epoch_time.{name}.c{few}"] = ratios
        vit.to(device)
        for classes in _CLASSES:
            logger.info("%s: an explanation of %d classes", name, classes)
            with_rivals = rivals and classes == few
            for method, costs in _costs(vit, classes, repeats, with_rivals).items():
                values |= {f"{method}.{measure}.{name}.c{classes}": found for measure, found in costs.items()}
    return values


def _costs(vit: Vit, classes: int, repeats: int, rivals: bool) -> dict[str, dict[str, list[float]]]:
    model, window = random_focus(vit, classes), _window(vit)
    images = model.front_end(window).images.flatten(0, 1)
    whole, one = _plain(vit, images), _plain(vit, images[:1])

    def explain() -> object:
        return model.explain(window)

    weights = [*model.parameters(), *model.buffers(), *vit.parameters(), *vit.buffers()]
    plain_peak = peak_bytes(whole, uncounted=weights, given=[images])
    found = {
        "focus": {
            "overhead_time": paired_ratios(explain, whole, repeats=repeats),
            "time_over_one_image": paired_ratios(explain, one, repeats=repeats),
            "overhead_memory": [peak_bytes(explain, uncounted=[*weights, window]) / plain_peak],
            "flops_over_token_per_band": [explain_flops(model) / token_per_band_flops(model)],
        }
    }
    if rivals:
        found |= rival_costs(vit, images, whole, plain_peak, classes=classes, repeats=repeats)
    return found


def _plain(vit: Vit, images: Float[Tensor, "image 3 height width"]) -> Callable[[], object]:
    @torch.inference_mode()
    def forward() -> object:
        return vit.forward_features(images)

    return forward


def _window(vit: Vit) -> Float[Tensor, "1 band ty tx"]:
    """Draw a window of noise around the training mean, all of it inside the plot."""
    return 0.3 + 0.1 * torch.randn(1, BANDS, *vit.patch_embed.img_size, device=_device_of(vit))


def _device_of(vit: Vit) -> torch.device:
    device: torch.device = next(vit.parameters()).device
    return device
