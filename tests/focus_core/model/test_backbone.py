from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers import RmsNorm
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import nn

from focus_core.errors import ModelError
from focus_core.model.backbone import encode, freeze, layout_of, pull, step
from focus_core.model.blocks import final_norm, through_norm

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


# Names of published models, built narrow and shallow with random weights, and their tokens before the patches.
PUBLISHED = {
    "vit_small_patch16_224": 1,
    "vit_small_patch16_224.dino": 1,
    "vit_small_patch14_dinov2": 1,
    "vit_small_patch14_reg4_dinov2": 5,
    "deit3_small_patch16_224": 1,
    "deit_tiny_distilled_patch16_224": 2,
    "vit_base_patch16_clip_224": 1,
    "vit_base_patch16_siglip_224": 0,
    "vit_base_patch16_siglip_gap_224": 0,
    "vit_medium_patch16_reg4_gap_256": 4,
    "eva02_tiny_patch14_224": 1,
    "vit_small_patch16_dinov3": 5,
    "vit_small_patch16_dinov3_qkvb": 5,
    "vit_small_plus_patch16_dinov3": 5,
    "vit_small_patch16_rope_mixed_224": 1,
    "vit_base_patch16_sapiens2": 9,
}


def published(name: str) -> nn.Module:
    size = 28 if "patch14" in name else 32
    arguments = {"num_kv_heads": 2} if "sapiens2" in name else {}
    torch.manual_seed(0)
    vit = timm.create_model(
        name, num_classes=0, img_size=(size, 2 * size), depth=3, embed_dim=64, num_heads=4, **arguments
    )
    for parameter in vit.parameters():  # an initial layer scale of 1e-5 or a zero bias would hide a mistake
        nn.init.normal_(parameter, std=0.2)
    return freeze(vit)


@torch.no_grad()
def states_of(vit: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """The model's own tokens on entry to each block and behind the last, as its own forward pass gives them."""
    states: list[torch.Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, given: states.append(given[0])) for block in vit.blocks]
    hooks.append(vit.blocks[-1].register_forward_hook(lambda _, __, given: states.append(given)))
    vit.forward_features(images)
    for hook in hooks:
        hook.remove()
    return states


@pytest.mark.parametrize(("name", "prefix"), PUBLISHED.items(), ids=PUBLISHED)
@torch.no_grad()
def test_a_row_reproduces_one_of_the_own_tokens_of_any_published_vit_in_each_block(name: str, prefix: int) -> None:
    vit = published(name)
    layout = layout_of(vit)
    assert (layout.prefix, layout.rows, layout.cols) == (prefix, 2, 4)
    images = torch.randn(2, 3, *vit.patch_embed.img_size)
    states, context = states_of(vit, images), encode(vit, images, first=0)
    row = states[0][:, :1]  # the class or first register token, or a patch that nothing rotates
    for index, block in enumerate(vit.blocks):
        row = step(block, row, context.keys[index], context.values[index]).rows
        torch.testing.assert_close(row, states[index + 1][:, :1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_the_entry_state_is_the_own_class_token_or_the_mean_patch(name: str) -> None:
    vit = published(name)
    images = torch.randn(2, 3, *vit.patch_embed.img_size)
    before = states_of(vit, images)[1]
    wanted = before.mean(dim=1) if vit.cls_token is None else before[:, 0]
    torch.testing.assert_close(encode(vit, images, first=1).entry, wanted)


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "vit_base_patch16_sapiens2"])
def test_the_read_out_direction_is_the_derivative_through_the_norm_at_a_fixed_denominator(name: str) -> None:
    norm = final_norm(published(name))
    rows = torch.randn(1, 3, 64, requires_grad=True)
    direction = torch.randn(1, 3, 64)
    centred = rows if isinstance(norm, RmsNorm) else rows - rows.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + norm.eps).rsqrt().detach()
    (centred * scale * norm.weight * direction).sum().backward()
    torch.testing.assert_close(through_norm(norm, rows.detach(), direction), rows.grad)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: VisionTransformer(patch_drop_rate=0.5, depth=1), "drops patches"),
        (lambda: VisionTransformer(block_fn=ParallelScalingBlock, depth=1), "block 0 is a ParallelScalingBlock"),
        (lambda: VisionTransformer(attn_layer="diff", depth=1), "with DiffAttention"),
        (lambda: VisionTransformer(scale_attn_norm=True, depth=1), "block 0 gates or normalises"),
        (lambda: VisionTransformer(in_chans=4, depth=1), "takes 4 channels"),
        (lambda: VisionTransformer(final_norm=False, global_pool="token", depth=1), "ends in"),
        (lambda: Eva(depth=1, scale_attn_inner=True), "block 0 gates or normalises"),
        (lambda: Eva(depth=1, use_post_norm=True), "block 0 is a EvaBlockPostNorm"),
        (lambda: timm.create_model("beit_base_patch16_224", depth=1), "Beit is not supported"),
        (lambda: timm.create_model("convnext_atto"), "ConvNeXt is not supported"),
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
