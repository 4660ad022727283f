"""Windows made of two: each side of a cut comes from a plot of another class, so what is said can be held to its place.

A label says nothing about where in a window the class shows, and the backbone's tokens know their neighbours; a row
trained on whole windows may read a class off any token. In a mixed window the tokens on either side of the cut must
say what that side's plot is (after CutMix, Yun et al., ICCV 2019, whose target is one mixed label for the image).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Mixed(NamedTuple):
    """Group images of windows that are of one plot, or of two."""

    images: Float[Tensor, "tile group 3 height width"]
    """Standardised group images."""
    label: Int[Tensor, " tile"]
    """Class of the window's own plot."""
    other: Int[Tensor, " tile"]
    """Class of the plot behind the cut; the own one where there is no cut."""
    region: Float[Tensor, "tile patch"]
    """1 for patches behind the cut."""
    inside: Float[Tensor, "tile patch"]
    """Share of each patch that lies inside its plot."""

    def take(self, part: Int[Tensor, " part"]) -> Mixed:
        """Return some of the windows."""
        return Mixed(*(tensor[part] for tensor in self))


def unmixed(
    images: Float[Tensor, "tile group 3 height width"],
    label: Int[Tensor, " tile"],
    inside: Float[Tensor, "tile patch"],
) -> Mixed:
    """Return windows as they are."""
    return Mixed(images, label, label, torch.zeros_like(inside), inside)


def mix(
    images: Float[Tensor, "tile group 3 height width"],
    label: Int[Tensor, " tile"],
    inside: Float[Tensor, "tile patch"],
    grid: tuple[int, int],
    generator: torch.Generator,
) -> Mixed:
    """Cut each window once, at a border of patches, and fill one side from a window of another class.

    Parameters
    ----------
    images
        Standardised group images.
    label
        Class index of each window.
    inside
        Share of each patch that lies inside the window's plot.
    grid
        Rows and columns of patches; at least one row or column stays on each side.
    generator
        Draws partners and cuts.
    """
    partner = _partners(label, generator)
    region = _sides(len(images), grid, generator) * (label != label[partner])[:, None, None]
    height, width = images.shape[-2] // grid[0], images.shape[-1] // grid[1]
    pixels = region.repeat_interleave(height, 1).repeat_interleave(width, 2)[:, None, None]
    patches = region.flatten(1)
    return Mixed(
        images=torch.where(pixels > 0, images[partner], images),
        label=label,
        other=label[partner],
        region=patches,
        inside=torch.where(patches > 0, inside[partner], inside),
    )


def joined(parts: list[Mixed]) -> Mixed:
    """Put several sets one after the other."""
    return Mixed(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _partners(label: Int[Tensor, " tile"], generator: torch.Generator) -> Int[Tensor, " tile"]:
    """Draw for each window one of another class; the window itself where there is none."""
    differs = (label[:, None] != label[None]).float()
    alone = differs.sum(dim=1) == 0
    differs[alone] = torch.eye(len(label))[alone]
    return torch.multinomial(differs, 1, generator=generator)[:, 0]


def _sides(tiles: int, grid: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "tile row col"]:
    """Draw the patches behind a cut along y or x, before or after it."""
    rows, cols = grid
    by_row, first = (torch.rand(tiles, generator=generator) < 0.5 for _ in range(2))
    drawn = torch.rand(tiles, generator=generator)
    length = torch.where(by_row, rows, cols)
    cut = 1 + (drawn * (length - 1)).long()
    place = torch.where(by_row[:, None, None], torch.arange(rows)[:, None], torch.arange(cols))
    return ((place < cut[:, None, None]) == first[:, None, None]).float()
