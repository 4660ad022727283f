from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import nn

from focus_core.errors import ModelError
from focus_core.model.backbone import encode, freeze, layout_of, pull, step

VARIANTS = {
    "plain": {},
    "registers": {"reg_tokens": 2, "no_embed_class": True},
    "query and key norm": {"qk_norm": True},
    "layer scale": {"init_values": 0.1},
    "scaled mlp": {"scale_mlp_norm": True},
    "norm before the blocks": {"pre_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "non-square": {"img_size": (12, 20)},
}


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_a_read_only_row_that_starts_as_the_class_token_stays_the_class_token(
    small_vit: Callable[..., VisionTransformer], arguments: dict[str, object]
) -> None:
    vit = freeze(small_vit(**arguments))
    images = torch.randn(2, 3, *vit.patch_embed.img_size)
    context = encode(vit, images, first=1)
    row = context.entry[:, None]
    for block, keys, values in zip(vit.blocks[1:], context.keys, context.values, strict=True):
        row = step(block, row, keys, values).rows
    torch.testing.assert_close(vit.norm(row)[:, 0], vit.forward_features(images)[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_layout_comes_from_the_timm_model(name: str) -> None:
    vit = timm.create_model(name, num_classes=0, img_size=28 if "14" in name else 32)
    layout = layout_of(vit)
    assert layout.patches == 4
    assert layout.prefix == (5 if "reg4" in name else 1)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: VisionTransformer(class_token=False, global_pool="avg", depth=1), "no class token"),
        (lambda: VisionTransformer(patch_drop_rate=0.5, depth=1), "drops patches"),
        (lambda: VisionTransformer(block_fn=ParallelScalingBlock, depth=1), "block 0 is a ParallelScalingBlock"),
        (lambda: VisionTransformer(attn_layer="diff", depth=1), "with DiffAttention"),
        (lambda: VisionTransformer(scale_attn_norm=True, depth=1), "block 0 gates or normalises"),
        (lambda: Eva(depth=1), "Eva is not supported"),
    ],
)
def test_an_unsupported_backbone_is_refused_with_the_reason(build: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        layout_of(build())


@torch.no_grad()
def test_attention_and_sink_share_add_up_to_one(small_vit: Callable[..., VisionTransformer]) -> None:
    vit = freeze(small_vit())
    context = encode(vit, torch.randn(2, 3, 12, 12), first=2)
    sink = torch.randn(2, 3, 8)
    with_sink = step(vit.blocks[2], context.entry[:, None], context.keys[0], context.values[0], sink)
    without = step(vit.blocks[2], context.entry[:, None], context.keys[0], context.values[0])
    torch.testing.assert_close(with_sink.attention.sum(-1) + with_sink.sink_share, torch.ones(2, 3, 1))
    torch.testing.assert_close(with_sink.attention / with_sink.attention.sum(-1, keepdim=True), without.attention)


@torch.no_grad()
def test_the_pull_of_all_tokens_is_what_attention_added_along_the_direction(
    small_vit: Callable[..., VisionTransformer],
) -> None:
    vit = freeze(small_vit(init_values=0.3))
    context = encode(vit, torch.randn(2, 3, 12, 12), first=2)
    block, rows = vit.blocks[2], context.entry[:, None]
    carried = step(block, rows, context.keys[0], context.values[0])
    direction = torch.randn(2, 1, 24)
    found = pull(block, carried.attention, context.values[0], direction).sum(-1)
    mixed = torch.matmul(carried.attention, context.values[0]).transpose(1, 2).flatten(2)
    added = block.ls1(block.attn.proj(mixed) - block.attn.proj.bias)
    torch.testing.assert_close(found, (added * direction).sum(-1))
