from collections.abc import Callable

import pytest
import torch

from focus_core.errors import SettingsError
from focus_core.model import Focus
from focus_core.training.cache import ContextCache, cache_megabytes


def test_cached_tiles_are_read_as_fresh_ones(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model()
    images = model.front_end(windows).images
    cache = ContextCache(model, images, budget_mb=10.0)
    wanted = torch.tensor([3, 0])
    assert len(cache) == 5
    fresh = model.read(model.encode(images[wanted])).evidence
    torch.testing.assert_close(model.read(cache.take(wanted)).evidence, fresh)


def test_a_cache_beyond_the_budget_is_refused_with_its_size(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model()
    size = cache_megabytes(model, 5)
    with pytest.raises(SettingsError, match=f"5 tiles takes {size:.0f} MB, the budget is 0 MB"):
        ContextCache(model, model.front_end(windows).images, budget_mb=0.01)
