"""Group images whose class is planted in known groups, seen by a frozen ViT with random weights."""

import torch


def planted_images(tiles: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 1 lowers group 1, class 2 raises group 2, both in the lower half only; groups 0 and 3 say nothing."""
    label = torch.arange(tiles) % classes
    images = torch.randn(tiles, 4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    images[label == 1, 1, :, 6:] -= 1.5
    images[label == 2, 2, :, 6:] += 1.5
    return images, label
