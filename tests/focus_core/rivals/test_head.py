from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.models.vision_transformer import VisionTransformer

from focus_core.errors import ModelError
from focus_core.rivals import LinearHead, fit_head
from focus_core.rivals import head as head_module
from focus_core.rivals.head import features
from tests.focus_core.rivals.planted import planted_images


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logits_are_scikit_learns_decision_function_less_its_mean_over_classes(
    small_vit: Callable[..., VisionTransformer], monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    monkeypatch.setattr(head_module, "_LADDER", (0.1,))
    vit = small_vit()
    (train, label), (held_out, label_held_out) = planted_images(60, classes), planted_images(30, classes, seed=1)
    head = fit_head(vit, train, label, held_out, label_held_out)
    with torch.no_grad():
        found = features(vit, train).flatten(1).double().numpy()
        other = features(vit, held_out).flatten(1).double().numpy()
    own = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=10_000))
    decision = own.fit(found, label.numpy()).decision_function(other)
    if classes == 2:
        decision = np.stack([np.zeros_like(decision), decision], axis=1)
    wanted = decision - decision.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(head.logits(held_out).numpy(), wanted, atol=1e-3)


def test_validation_tiles_choose_the_penalty(small_vit: Callable[..., VisionTransformer]) -> None:
    (train, label), (held_out, label_held_out) = planted_images(60), planted_images(30, seed=1)
    told = fit_head(small_vit(), train, label, held_out, label_held_out)
    shuffled = fit_head(small_vit(), train, label, held_out, label_held_out.roll(1))
    assert (told.logits(held_out).argmax(dim=1) == label_held_out).float().mean() > 0.8
    assert shuffled.weight.norm() < 0.1 * told.weight.norm()  # where nothing generalises, the strongest penalty wins


@pytest.mark.parametrize(
    "name", ["vit_small_patch16_224", "vit_base_patch16_siglip_224", "vit_base_patch16_siglip_gap_224"]
)
def test_the_features_are_the_models_own_before_its_classifier(name: str) -> None:
    torch.manual_seed(0)
    vit = timm.create_model(name, num_classes=0, img_size=32, depth=2, embed_dim=64, num_heads=4).eval()
    images = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(features(vit, images)[1, 2], vit(images[1, 2][None])[0])


def test_the_backbone_is_frozen_and_the_logits_are_differentiable(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    head = small_head()
    head.logits(images.requires_grad_()).sum(dim=0)[1].backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_evidence_and_bias_add_up_to_logits_that_are_zero_on_average(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    head = small_head()
    logits = head.logits(images)
    torch.testing.assert_close(head.evidence(images).sum(dim=-1) + head.bias, logits)
    torch.testing.assert_close(logits.mean(dim=1), torch.zeros(5), atol=1e-5, rtol=0.0)


def test_a_class_without_training_tiles_is_refused(small_vit: Callable[..., VisionTransformer]) -> None:
    images, label = planted_images(12)
    kept = label != 1
    with pytest.raises(ModelError, match=r"classes \[0, 2\]"):
        fit_head(small_vit(), images[kept], label[kept], images, label)
