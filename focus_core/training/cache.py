"""Frozen forward passes, kept so that an epoch of prompt training does not run the backbone."""

from __future__ import annotations

import logging

import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from focus_core.model import BlockTokens, Focus

logger = logging.getLogger(__name__)

_ENCODE_TILES = 16


class ContextCache:
    """Keys and values of group images, tile by tile; what does not fit the budget is computed again at each reading.

    Parameters
    ----------
    model
        Whose backbone and front end are used; of one that is not ``cacheable`` nothing is held.
    images
        Standardised group images.
    budget_mb
        Largest size, MB, of the memory where the model lies. The first tiles are held; the tiles themselves stand
        before their augmented copies.
    """

    def __init__(self, model: Focus, images: Float[Tensor, "tile group 3 height width"], *, budget_mb: float) -> None:
        self._model, self._groups = model, images.shape[1]
        tiles, one = len(images), cache_megabytes(model, 1)
        self.held = min(tiles, int(budget_mb / one)) if model.cacheable else 0
        logger.info(
            "keys and values of %d tiles take %.0f MB, the budget is %.0f MB: %d held, %d computed again each epoch",
            *(tiles, tiles * one, budget_mb, self.held, tiles - self.held),
        )
        self._beyond = images[self.held :]
        self._parts: list[Tensor] = []
        for start in track(range(0, self.held, _ENCODE_TILES), description="cache", transient=True):
            found = self._by_tile(model.encode(images[start : min(start + _ENCODE_TILES, self.held)]))
            # Into their place as they come: parts and their sum together would be twice the size.
            self._parts = self._parts or [tensor.new_empty((self.held, *tensor.shape[1:])) for tensor in found]
            for whole, own in zip(self._parts, found, strict=True):
                whole[start : start + len(own)] = own

    def __len__(self) -> int:
        return self.held + len(self._beyond)

    def take(self, tiles: Int[Tensor, " part"]) -> tuple[BlockTokens, ...]:
        """Return the frozen forward pass of some tiles."""
        held, beyond = tiles[tiles < self.held], tiles[tiles >= self.held] - self.held
        found = [[tensor[held] for tensor in self._parts]] if len(held) else []
        if len(beyond):
            found.append(self._by_tile(self._model.encode(self._beyond[beyond])))
        if len(found) == 1:
            return self._blocks(found[0])
        order = torch.cat([torch.where(tiles < self.held)[0], torch.where(tiles >= self.held)[0]]).argsort()
        return self._blocks([tensor[order] for tensor in _joined(found)])

    def _by_tile(self, blocks: tuple[BlockTokens, ...]) -> list[Tensor]:
        """Group the images of a tile, so that taking a tile copies one run of memory."""
        return [tensor.unflatten(0, (-1, self._groups)) for block in blocks for tensor in block]

    def _blocks(self, parts: list[Tensor]) -> tuple[BlockTokens, ...]:
        images = iter(tensor.flatten(0, 1) for tensor in parts)
        return tuple(BlockTokens(*each) for each in zip(images, images, images, strict=True))


def _joined(parts: list[list[Tensor]]) -> list[Tensor]:
    return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


def cache_megabytes(model: Focus, tiles: int) -> float:
    """Return the size of a cache of ``tiles`` tiles, MB; keys and values are of the model's placement's dtype."""
    tokens = model.layout.prefix + model.layout.patches
    width = model.vit.embed_dim
    image = len(model.spec.read_blocks) * width * (4 + 2 * tokens * model.placement.dtype.itemsize)
    return float(tiles * len(model.spec.groups) * image / 1e6)
