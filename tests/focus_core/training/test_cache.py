from collections.abc import Callable

import pytest
import torch

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


@pytest.mark.parametrize("held", [0, 2, 5])
def test_tiles_beyond_the_budget_are_computed_again_and_read_alike(
    small_model: Callable[..., Focus], windows: torch.Tensor, held: int
) -> None:
    model = small_model()
    images = model.front_end(windows).images
    cache = ContextCache(model, images, budget_mb=cache_megabytes(model, held) + 1e-6)
    assert (cache.held, len(cache)) == (held, 5)
    for wanted in ([4, 0, 3, 1], [0, 1], [4, 3], [2]):
        fresh = model.read(model.encode(images[wanted])).evidence
        torch.testing.assert_close(model.read(cache.take(torch.tensor(wanted))).evidence, fresh)


def test_the_size_is_said_before_the_cache_is_filled(
    small_model: Callable[..., Focus], windows: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    model = small_model()
    caplog.set_level("INFO")
    ContextCache(model, model.front_end(windows).images, budget_mb=cache_megabytes(model, 3) + 1e-6)
    assert "the budget is 0 MB: 3 held, 2 computed again each epoch" in caplog.text
