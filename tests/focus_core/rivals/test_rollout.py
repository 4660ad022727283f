from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from focus_core.model.backbone import embed, freeze
from focus_core.model.blocks import run_block
from focus_core.rivals import LinearHead
from focus_core.rivals.attention import self_attention
from focus_core.rivals.rollout import Rollout, roll_out

# With and without rotary positions, register tokens and norms of queries and keys.
NAMES = [
    "vit_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
    "vit_small_patch16_rope_mixed_224",
    "vit_base_patch16_sapiens2",
]


def published(name: str) -> nn.Module:
    size = 28 if "patch14" in name else 32
    arguments = {"num_kv_heads": 2} if "sapiens2" in name else {}
    torch.manual_seed(0)
    vit = timm.create_model(
        name, num_classes=0, img_size=(size, 2 * size), depth=2, embed_dim=64, num_heads=4, **arguments
    )
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return freeze(vit)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_attention_is_timms_own_where_its_fused_kernel_is_switched_off(name: str) -> None:
    vit = published(name)
    own: list[torch.Tensor] = []
    for block in vit.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, __, given: own.append(given))
    tokens, ropes = embed(vit, torch.randn(2, 3, *vit.patch_embed.img_size))
    for index, (block, rope) in enumerate(zip(vit.blocks, ropes, strict=True)):
        found = self_attention(block, tokens, rope)
        tokens = run_block(block, tokens, rope)
        torch.testing.assert_close(found, own[index], atol=1e-5, rtol=1e-4)


def test_rows_of_a_rollout_sum_to_one_and_identity_attention_rolls_out_to_identity() -> None:
    torch.manual_seed(0)
    random = [torch.randn(2, 3, 5, 5).softmax(dim=-1) for _ in range(4)]
    torch.testing.assert_close(roll_out(random).sum(dim=-1), torch.ones(2, 5))
    identity = torch.eye(5).expand(2, 3, 5, 5)
    assert torch.equal(roll_out([identity] * 4), torch.eye(5).expand(2, 5, 5))


def test_rollout_goes_from_the_first_block_to_the_last() -> None:
    """The class token looks at patch 1 in the last block; before, patch 1 looked at patch 2: so it saw both."""
    first, last = torch.eye(3), torch.eye(3)
    first[1] = torch.tensor([0.0, 0.0, 1.0])
    last[0] = torch.tensor([0.0, 1.0, 0.0])
    rolled = roll_out([first.expand(1, 1, 3, 3), last.expand(1, 1, 3, 3)])
    torch.testing.assert_close(rolled[0, 0], torch.tensor([0.5, 0.25, 0.25]))


def test_the_map_is_what_the_class_token_holds_of_the_patches_alike_for_every_class(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    importance, saliency = Rollout(small_head()).explain(images)
    assert importance is None
    assert saliency is not None
    assert torch.equal(saliency[:, 0], saliency[:, 2])
    mass = saliency.sum(dim=(-2, -1))
    assert (mass > 0).all()
    assert (mass < 1).all()  # the rest is the class token's own


def test_a_model_without_a_class_token_is_read_by_its_mean_row(
    small_vit: Callable[..., VisionTransformer], images: torch.Tensor
) -> None:
    vit = small_vit(class_token=False, global_pool="avg")
    saliency = Rollout(LinearHead(vit, torch.randn(3, 4, 24), torch.zeros(3))).explain(images).saliency
    assert saliency is not None
    torch.testing.assert_close(saliency.sum(dim=(-2, -1)), torch.ones(5, 3, 4))
