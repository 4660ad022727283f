from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.rivals import LinearHead

CLASSES, GROUPS = 3, 4


@pytest.fixture
def small_head(small_vit: Callable[..., VisionTransformer]) -> Callable[..., LinearHead]:
    """A random head of three classes over four groups; only the groups named are read, if any are."""

    def build(only: tuple[int, ...] | None = None, **arguments: object) -> LinearHead:
        vit = small_vit(**arguments)
        weight = torch.randn(CLASSES, GROUPS, vit.embed_dim, generator=torch.Generator().manual_seed(5))
        if only is not None:
            weight[:, [group for group in range(GROUPS) if group not in only]] = 0.0
        return LinearHead(vit, weight, torch.tensor([0.3, -0.2, 0.5]))

    return build


@pytest.fixture
def images() -> torch.Tensor:
    """Group images of five tiles."""
    return torch.randn(5, GROUPS, 3, 12, 12, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def reference() -> torch.Tensor:
    """Group images of three reference tiles."""
    return 0.5 + torch.randn(3, GROUPS, 3, 12, 12, generator=torch.Generator().manual_seed(8))
