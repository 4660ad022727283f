"""Planted windows: what each class does is known, so that training can be judged by the truth."""

from collections.abc import Callable

import pytest
import torch

from focus_core.training import Labelled

BANDS = 12


@pytest.fixture
def planted() -> Callable[..., Labelled]:
    """Windows of 12 bands in four groups of three (the last band is bad, see ``small_spec``).

    Drought lowers the bands of group 1, disease raises those of group 2, both in the lower half of the window only.
    Group 3 is white noise. The control, and group 0 of every class, vary from plot to plot.
    """

    def build(plots: int = 30, windows: int = 2, seed: int = 0, *, shortcut: bool = False) -> Labelled:
        generator = torch.Generator().manual_seed(seed)
        plot = torch.arange(plots).repeat_interleave(windows)
        label = plot % 3
        level = 0.3 + 0.02 * torch.randn(plots, 1, 1, 1, generator=generator)
        reflectance = level[plot] + 0.02 * torch.randn(len(plot), BANDS, 12, 12, generator=generator)
        reflectance[label == 1, 3:6, 6:] -= 0.10
        reflectance[label == 2, 6:9, 6:] += 0.10
        if shortcut:
            reflectance[label == 1, 0:3] += 0.15
        reflectance[:, 9:] = 0.3 + 0.1 * torch.randn(len(plot), 3, 12, 12, generator=generator)
        return Labelled(reflectance, label, plot, torch.full((len(plot),), 144.0))

    return build
