import torch

from focus_core.config import BackboneSettings, PretrainSettings
from focus_core.training import Examples, backbone_arguments, supervised_backbone

SETTINGS = PretrainSettings(
    method="supervised", backbone=BackboneSettings(width=24, depth=2, heads=3), epochs=20, batch_images=32
)
ARGUMENTS = backbone_arguments(SETTINGS, 12)


def examples(seed: int) -> Examples:
    """Two groups of noise; in the second, class 1 has a bright and class 2 a dark upper part."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(90, 2, 3, 12, 12, generator=generator)
    label = torch.arange(90) % 3
    images[label == 1, 1, :, :8] += 2.0
    images[label == 2, 1, :, :8] -= 2.0
    return Examples(images, label)


def test_what_validation_plots_have_in_common_with_training_plots_is_learned() -> None:
    _, loss = supervised_backbone(examples(0), examples(1), ARGUMENTS, SETTINGS, classes=3)
    assert loss < 0.5 * torch.log(torch.tensor(3.0))


def test_the_epoch_that_validation_plots_like_best_is_kept() -> None:
    """Both runs learn the same; where validation plots contradict what is learned, an early epoch fits them best."""
    train = examples(0)
    agreed, learned = supervised_backbone(train, train, ARGUMENTS, SETTINGS, classes=3)
    contrary = Examples(train.images, (train.label + 1) % 3)
    early, kept = supervised_backbone(train, contrary, ARGUMENTS, SETTINGS, classes=3)
    assert learned < 0.3
    assert kept < 1.3  # the last epoch, which gives these labels 0.26 on average at most, has a loss of 1.35
    assert not torch.equal(agreed.blocks[0].attn.qkv.weight, early.blocks[0].attn.qkv.weight)


def test_the_same_seed_gives_the_same_backbone() -> None:
    settings = SETTINGS.model_copy(update={"epochs": 2})
    left, right = (
        supervised_backbone(examples(0), examples(1), ARGUMENTS, settings, classes=3)[0].state_dict() for _ in range(2)
    )
    assert all(torch.equal(left[name], right[name]) for name in left)
