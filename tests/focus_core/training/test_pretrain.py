import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.config import BackboneSettings, PretrainSettings
from focus_core.training import backbone_arguments, pretrain_backbone
from focus_core.training.pretrain import MaskedImageModel

SETTINGS = PretrainSettings(backbone=BackboneSettings(width=24, depth=2, heads=3), epochs=4, batch_images=32)
ARGUMENTS = backbone_arguments(SETTINGS, 12)


def stripes(count: int = 128) -> torch.Tensor:
    """Images whose columns repeat, so that a hidden patch can be told from its neighbours."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 1, 12, generator=generator).expand(-1, -1, 12, -1).contiguous()


def test_the_loss_falls() -> None:
    _, first = pretrain_backbone(stripes(), ARGUMENTS, SETTINGS.model_copy(update={"epochs": 1}))
    _, last = pretrain_backbone(stripes(), ARGUMENTS, SETTINGS.model_copy(update={"epochs": 8}))
    assert last < 0.8 * first


@pytest.mark.parametrize("epochs", [1, 2, 5, 10, 11])
def test_any_number_of_steps_can_be_scheduled(epochs: int) -> None:
    settings = SETTINGS.model_copy(update={"epochs": epochs, "batch_images": 64})
    _, loss = pretrain_backbone(stripes(32), ARGUMENTS, settings)
    assert loss > 0


def test_the_same_seed_gives_the_same_backbone() -> None:
    left, _ = pretrain_backbone(stripes(), ARGUMENTS, SETTINGS)
    right, _ = pretrain_backbone(stripes(), ARGUMENTS, SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True))


def test_a_random_backbone_is_not_trained() -> None:
    left, loss = pretrain_backbone(stripes(), ARGUMENTS, SETTINGS.model_copy(update={"method": "random"}))
    right, _ = pretrain_backbone(stripes(4), ARGUMENTS, SETTINGS.model_copy(update={"method": "random"}))
    assert loss != loss
    assert all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True))


def test_half_precision_gives_the_same_loss_and_a_gradient_to_every_weight() -> None:
    torch.manual_seed(0)
    model, images = MaskedImageModel(VisionTransformer(**ARGUMENTS)), stripes(32)
    hidden = torch.rand(32, 9) < 0.5
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images, hidden)
    half.backward()
    assert half.item() == pytest.approx(model(images, hidden).item(), rel=0.01)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
