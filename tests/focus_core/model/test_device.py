"""Where a model lies and in which precision its frozen pass runs; fake tensors know their device without having it."""

from collections.abc import Callable

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from focus_core.model import CPU, Focus, Placement, placement
from focus_core.training.cache import ContextCache, cache_megabytes
from focus_core.training.losses import patch_loss, sides
from focus_core.training.mixing import unmixed
from focus_core.training.trainer import _words

HALF = Placement(device=torch.device("cpu"), dtype=torch.bfloat16)
GPU = Placement(device=torch.device("cuda"), dtype=torch.bfloat16)
FAKE = Placement(device=torch.device("cuda", 0), dtype=torch.float32)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
PLACES = [pytest.param(HALF, id="cpu"), pytest.param(GPU, id="cuda", marks=needs_gpu)]


def test_the_processor_is_float32_and_can_be_asked_for() -> None:
    assert placement("cpu") == CPU
    assert placement("auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_placing_on_the_processor_changes_no_bit(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    placed, plain = small_model().place(CPU).explain(windows), small_model().explain(windows)
    assert all(torch.equal(a, b) for a, b in zip(placed, plain, strict=True))


@pytest.mark.parametrize("place", PLACES)
def test_a_frozen_pass_in_bfloat16_explains_alike(
    small_model: Callable[..., Focus], windows: torch.Tensor, place: Placement
) -> None:
    found, exact = small_model().place(place).explain(windows), small_model().explain(windows)
    for tensor in found:
        assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
    assert not torch.equal(found.evidence, exact.evidence)
    difference = (found.evidence - exact.evidence).abs().max()
    assert difference < 0.02 * exact.evidence.abs().max()
    torch.testing.assert_close(found.probability, exact.probability, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("place", PLACES)
def test_sums_stay_exact_where_the_frozen_pass_is_not(
    small_model: Callable[..., Focus], windows: torch.Tensor, place: Placement
) -> None:
    model = small_model().place(place)
    found = model.explain(windows)
    torch.testing.assert_close(found.importance.sum(-1) + model.bias.cpu(), found.logit, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.saliency.sum((-2, -1)), found.importance, atol=1e-5, rtol=1e-5)


def test_the_caller_of_a_half_precision_pass_computes_in_its_own(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model().place(HALF)
    for tokens in model._walk(model.front_end(windows).images):
        assert not torch.is_autocast_enabled("cpu")
        assert (tokens.keys.dtype, tokens.values.dtype, tokens.entry.dtype) == (*2 * [torch.bfloat16], torch.float32)


@pytest.mark.parametrize("place", PLACES)
def test_the_cache_is_held_in_the_precision_that_its_size_is_said_for(
    small_model: Callable[..., Focus], windows: torch.Tensor, place: Placement
) -> None:
    model = small_model().place(place)
    cache = ContextCache(model, model.front_end(windows.to(place.device)).images, budget_mb=10.0)
    held = sum(part.numel() * part.element_size() for part in cache._parts)
    assert held / 1e6 == pytest.approx(cache_megabytes(model, 5))
    assert {part.device.type for part in cache._parts} == {place.device.type}
    assert cache_megabytes(model, 5) < 0.6 * cache_megabytes(small_model(), 5)


def test_nothing_is_made_on_a_device_of_its_own(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    """A tensor of the processor among those of the other device would be refused by fake tensors."""
    model = small_model()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        model = _faked(model, fake)
        explained = model.explain(fake.from_tensor(windows))
        assert {tensor.device.type for tensor in explained} == {"cpu"}
        images = fake.from_tensor(torch.zeros(5, 4, 3, 12, 12))
        cache = ContextCache(model, images, budget_mb=10.0)
        assert {part.device.type for part in cache._parts} == {"cuda"}
        seen = unmixed(images, torch.zeros(5, dtype=torch.int64), torch.ones(5, model.layout.patches))
        part = torch.tensor([3, 0])
        words = _words(model, model.read(model.encode(images[part])).said)
        said = (words, model.class_bias(), seen.take(part))
        assert sides(*said).loss(torch.ones(3)).device.type == "cuda"
        assert patch_loss(*said, torch.ones(3)).device.type == "cuda"


def _faked(model: Focus, fake: FakeTensorMode) -> Focus:
    """Swap each tensor for a fake one on the other device; `place` cannot: fake ones are not moved in place."""
    for module in (*model.modules(), *model.vit.modules()):
        for name, tensor in module._parameters.items():
            if tensor is not None:
                moved = fake.from_tensor(tensor.detach()).to(FAKE.device)
                module._parameters[name] = torch.nn.Parameter(moved, tensor.requires_grad)
        for name, tensor in module._buffers.items():
            if tensor is not None:
                module._buffers[name] = fake.from_tensor(tensor).to(FAKE.device)
    model.placement = FAKE
    return model
