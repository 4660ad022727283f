from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.model.backbone import embed, freeze
from focus_core.model.blocks import run_block
from focus_core.rivals import PromptCam, PromptCamSettings, fit_prompt_cam
from focus_core.rivals.prompt_cam import block_with_prompts
from tests.focus_core.rivals.planted import planted_images


@torch.no_grad()
def test_a_block_with_prompts_is_timms_own_block_on_the_joined_sequence(
    small_vit: Callable[..., VisionTransformer],
) -> None:
    block = freeze(small_vit(init_values=0.3, qk_norm=True)).blocks[1]
    tokens, prompts = torch.randn(2, 10, 24), torch.randn(2, 3, 24)
    wanted = block(torch.cat([prompts, tokens], dim=1))[:, 3:]
    torch.testing.assert_close(block_with_prompts(block, tokens, None, prompts), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_small_patch16_dinov3"])
@torch.no_grad()
def test_with_rotary_positions_no_prompts_leave_the_block_as_it_is(name: str) -> None:
    size = 28 if "patch14" in name else 32
    torch.manual_seed(0)
    vit = freeze(timm.create_model(name, num_classes=0, img_size=size, depth=2, embed_dim=64, num_heads=4))
    tokens, ropes = embed(vit, torch.randn(2, 3, size, size))
    wanted = run_block(vit.blocks[0], tokens, ropes[0])
    found = block_with_prompts(vit.blocks[0], tokens, ropes[0], tokens[:, :0])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def trained() -> tuple[PromptCam, VisionTransformer, VisionTransformer]:
    """The model, its backbone, and the same backbone as it was before."""
    backbones = []
    for _ in range(2):
        torch.manual_seed(0)
        vit = VisionTransformer(img_size=12, patch_size=4, embed_dim=24, depth=2, num_heads=3, num_classes=0)
        for parameter in vit.parameters():  # with timm's initial weights a block adds next to nothing to a prompt
            torch.nn.init.normal_(parameter, std=0.3)
        backbones.append(vit)
    (train, label), held_out = planted_images(96), planted_images(30, seed=1)
    settings = PromptCamSettings(epochs=15, learning_rate=0.05)
    return fit_prompt_cam(backbones[0], train, label, *held_out, train[label == 0], settings), *backbones


def test_training_leaves_the_backbone_bit_equal(
    trained: tuple[PromptCam, VisionTransformer, VisionTransformer],
) -> None:
    model, after, before = trained
    for (name, left), right in zip(after.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(left, right), name
    assert set(model.state_dict()) == {"prompts", "scorer", "reference_mean"}


def test_it_learns_the_planted_classes_and_its_scores_find_their_groups(
    trained: tuple[PromptCam, VisionTransformer, VisionTransformer],
) -> None:
    images, label = planted_images(60, seed=2)
    importance, saliency = trained[0].explain(images)
    assert importance is not None
    assert saliency is not None
    assert (trained[0].logits(images).argmax(dim=1) == label).float().mean() > 0.7
    for index in (1, 2):
        curve = importance[label == index, index].mean(dim=0)
        assert curve.argmax() == index
        assert curve[index] > 0.8 * curve.abs().sum()
    mass = saliency.sum(dim=(-2, -1))
    assert ((mass > 0) & (mass < 1)).all()  # the rest is on the prompts and the class token


def test_importance_is_the_contrastive_score_less_that_of_the_reference_tiles(
    trained: tuple[PromptCam, VisionTransformer, VisionTransformer],
) -> None:
    images, label = planted_images(96)
    importance = trained[0].explain(images).importance
    assert importance is not None
    torch.testing.assert_close(importance[label == 0].mean(dim=0), torch.zeros(3, 4), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(importance.mean(dim=1), torch.zeros(96, 4), atol=1e-4, rtol=0.0)
    bias = trained[0].reference_mean.sum(dim=-1)
    torch.testing.assert_close(importance.sum(dim=-1) + bias, trained[0].logits(images), atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_model(small_vit: Callable[..., VisionTransformer]) -> None:
    images, label = planted_images(12)
    settings = PromptCamSettings(epochs=1)
    first, again = (
        fit_prompt_cam(small_vit(), images, label, images, label, images, settings).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
