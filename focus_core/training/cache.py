"""Frozen forward passes, kept so that an epoch of prompt training does not run the backbone."""

from __future__ import annotations

import logging

import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from focus_core.errors import SettingsError
from focus_core.model import Context, Focus

logger = logging.getLogger(__name__)

_ENCODE_TILES = 16


class ContextCache:
    """Keys and values of group images, tile by tile.

    Parameters
    ----------
    model
        Whose backbone and front end are used.
    images
        Standardised group images.
    budget_mb
        Largest size, MB.

    Raises
    ------
    SettingsError
        If the cache would be larger; the message names the size and what reduces it.
    """

    def __init__(self, model: Focus, images: Float[Tensor, "tile group 3 height width"], *, budget_mb: float) -> None:
        self.groups = images.shape[1]
        size_mb = cache_megabytes(model, len(images))
        if size_mb > budget_mb:
            raise SettingsError(
                f"the cache of {len(images)} tiles takes {size_mb:.0f} MB, the budget is {budget_mb:.0f} MB; "
                "lower augmented_copies or raise cache_budget_mb"
            )
        logger.info("caching keys and values of %d tiles: %.0f MB", len(images), size_mb)
        parts = [model.encode(part) for part in track(images.split(_ENCODE_TILES), description="cache", transient=True)]
        self._entry = self._by_tile([part.entry for part in parts])
        self._keys = [self._by_tile(list(block)) for block in zip(*(part.keys for part in parts), strict=True)]
        self._values = [self._by_tile(list(block)) for block in zip(*(part.values for part in parts), strict=True)]

    def __len__(self) -> int:
        return len(self._entry)

    def take(self, tiles: Int[Tensor, " part"]) -> Context:
        """Return the frozen forward pass of some tiles."""
        return Context(
            self._entry[tiles].flatten(0, 1),
            tuple(key[tiles].flatten(0, 1) for key in self._keys),
            tuple(value[tiles].flatten(0, 1) for value in self._values),
        )

    def _by_tile(self, parts: list[Tensor]) -> Float[Tensor, "tile group *rest"]:
        """Group the images of a tile, so that taking a tile copies one run of memory."""
        joined: Tensor = torch.cat(parts).unflatten(0, (-1, self.groups))
        return joined


def cache_megabytes(model: Focus, tiles: int) -> float:
    """Return the size of a cache of ``tiles`` tiles, MB."""
    tokens = model.layout.prefix + model.layout.patches
    width = model.vit.embed_dim
    numbers = width + 2 * model.spec.prompt_blocks * tokens * width
    return float(tiles * len(model.spec.groups) * numbers * 4 / 1e6)
