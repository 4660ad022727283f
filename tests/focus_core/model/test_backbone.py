from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import nn

from focus_core.errors import ModelError
from focus_core.model.backbone import BlockTokens, freeze, layout_of, look, said, walk
from focus_core.model.blocks import residual_scale


def behind(block: nn.Module, row: torch.Tensor, seen: BlockTokens) -> torch.Tensor:
    """Where a block of the model itself would take a row that looks where `look` says."""
    mixed = torch.matmul(look(block, row, seen.keys).attention, seen.values).transpose(1, 2).flatten(2)
    row = row + residual_scale(block, 1) * block.attn.proj(mixed)
    return row + residual_scale(block, 2) * block.mlp(block.norm2(row))


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
    row = None
    for block, seen in zip(vit.blocks[1:], walk(vit, images, [1, 2]), strict=True):
        row = behind(block, seen.entry[:, None] if row is None else row, seen)
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
    states, tokens = states_of(vit, images), walk(vit, images, range(3))
    row = states[0][:, :1]  # the class or first register token, or a patch that nothing rotates
    for index, (block, seen) in enumerate(zip(vit.blocks, tokens, strict=True)):
        row = behind(block, row, seen)
        torch.testing.assert_close(row, states[index + 1][:, :1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_the_entry_state_is_the_own_class_token_or_the_mean_patch(name: str) -> None:
    vit = published(name)
    images = torch.randn(2, 3, *vit.patch_embed.img_size)
    before = states_of(vit, images)[1]
    wanted = before[:, -8:].mean(dim=1) if vit.cls_token is None else before[:, 0]  # 2 x 4 patches come last
    (tokens,) = walk(vit, images, [1])
    torch.testing.assert_close(tokens.entry, wanted)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: VisionTransformer(patch_drop_rate=0.5, depth=1), "drops patches"),
        (lambda: VisionTransformer(block_fn=ParallelScalingBlock, depth=1), "block 0 is a ParallelScalingBlock"),
        (lambda: VisionTransformer(attn_layer="diff", depth=1), "with DiffAttention"),
        (lambda: VisionTransformer(scale_attn_norm=True, depth=1), "block 0 gates or normalises"),
        (lambda: VisionTransformer(in_chans=4, depth=1), "takes 4 channels"),
        (lambda: VisionTransformer(patch_size=(16, 8), depth=1), "patches are 16 x 8 px"),
        (lambda: VisionTransformer(img_size=(32, 40), depth=1), "patches of 16 px do not divide the input of 32 x 40"),
        (lambda: timm.create_model("vit_tiny_r_s16_p8_224", depth=1), "makes its tokens with a HybridEmbed"),
        (lambda: timm.create_model("vitamin_small_224", depth=1), "makes its tokens with a HybridEmbed"),
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
    (tokens,) = walk(vit, torch.randn(2, 3, 12, 12), [2])
    rows = tokens.entry[:, None]
    with_sink = look(vit.blocks[2], rows, tokens.keys, torch.randn(2, 3, 8))
    without = look(vit.blocks[2], rows, tokens.keys)
    torch.testing.assert_close(with_sink.attention.sum(-1) + with_sink.sink_share, torch.ones(2, 3, 1))
    torch.testing.assert_close(with_sink.attention / with_sink.attention.sum(-1, keepdim=True), without.attention)


@torch.no_grad()
def test_what_tokens_say_adds_up_to_what_attention_mixed_along_the_direction(
    small_vit: Callable[..., VisionTransformer],
) -> None:
    vit = freeze(small_vit())
    (tokens,) = walk(vit, torch.randn(2, 3, 12, 12), [1])
    looked = look(vit.blocks[1], tokens.entry[:, None], tokens.keys)
    direction = torch.randn(2, 1, 24)
    mixed = torch.matmul(looked.attention, tokens.values).transpose(1, 2).flatten(2)
    found = said(looked.attention, tokens.values, direction)
    assert found.shape == (2, 1, 10)
    torch.testing.assert_close(found.sum(-1), (mixed * direction).sum(-1))


@torch.no_grad()
def test_blocks_behind_the_last_one_read_are_not_run(small_vit: Callable[..., VisionTransformer]) -> None:
    vit = freeze(small_vit())
    ran: list[int] = []
    for index, block in enumerate(vit.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    first, second = walk(vit, torch.randn(1, 3, 12, 12), [0, 1])
    assert ran == [0]  # of the last one read, keys and values alone
    assert not torch.equal(first.keys, second.keys)
