from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.errors import ModelError
from focus_core.metrics.attention import attention_collapse
from focus_core.model import BandScale, Focus, ModelSpec, layout_of
from focus_core.model.backbone import embed, freeze
from focus_core.model.blocks import run_block
from focus_core.rivals.attention import self_attention
from focus_core.rivals.collapse import plant_collapse
from focus_core.rivals.prompt_cam import block_with_prompts
from focus_core.rivals.wirings import ReadsPrefix


@torch.no_grad()
def odds(vit: VisionTransformer) -> torch.Tensor:
    """Of attention on the class token in the first block."""
    tokens, _ = embed(freeze(vit), torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)))
    share = self_attention(vit.blocks[0], tokens, None)[..., 0]
    return share / (1 - share)


@pytest.mark.parametrize("arguments", [{}, {"reg_tokens": 2, "qk_norm": True, "init_values": 0.3}])
def test_the_odds_of_the_class_token_grow_by_the_factor(
    small_vit: Callable[..., VisionTransformer], arguments: dict[str, object]
) -> None:
    vit = small_vit(**arguments)
    torch.testing.assert_close(odds(plant_collapse(vit, 7.0)), 7.0 * odds(plant_collapse(vit, 1.0)))


@torch.no_grad()
def test_timms_own_forward_collapses_alike_and_the_original_does_not(
    small_vit: Callable[..., VisionTransformer],
) -> None:
    vit, images = freeze(small_vit()), torch.randn(2, 3, 12, 12)
    before = vit(images)
    planted = freeze(plant_collapse(vit, 20.0))
    assert layout_of(planted) == layout_of(vit)
    assert torch.equal(vit(images), before)
    tokens, _ = embed(planted, images)
    found = block_with_prompts(planted.blocks[0], tokens, None, tokens[:, :0])
    torch.testing.assert_close(run_block(planted.blocks[0], tokens, None), found, atol=1e-5, rtol=1e-5)


def test_rows_and_tokens_collapse_onto_the_class_token(
    small_vit: Callable[..., VisionTransformer], small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    classes = torch.arange(10) == 0
    for factor, wanted in ((1.0, False), (20.0, True)):
        vit = plant_collapse(small_vit(), factor)
        model = ReadsPrefix(small_spec(sink=False), vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1)))
        images = model.front_end(windows).images
        rows = model.read(model.encode(images)).attention.detach().numpy()
        tokens, _ = embed(vit, images.flatten(0, 1))
        for block in vit.blocks:
            own = self_attention(block, tokens, None).mean(dim=1).detach().numpy()
            tokens = run_block(block, tokens, None)
            for attention in (rows, own):
                found = attention_collapse(attention, {"cls": classes.numpy()})["cls"]
                assert found.has_collapse is wanted
                assert (found.raw > 4 * found.uniform) is wanted


def test_masked_class_tokens_are_no_collapse(
    small_vit: Callable[..., VisionTransformer], small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    vit = plant_collapse(small_vit(), 20.0)
    model = Focus(small_spec(), vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1)))
    assert (model.explain(windows).prefix_attention == 0).all()


def test_prompts_in_front_of_the_sequence_are_not_taken_for_the_class_token(
    small_vit: Callable[..., VisionTransformer],
) -> None:
    attention = plant_collapse(small_vit(), 20.0).blocks[0].attn
    alone, whole = attention.k_norm(torch.randn(1, 3, 4, 8)), attention.k_norm(torch.randn(1, 3, 10, 8))
    assert (alone[..., -1] == 0).all()
    assert (whole[:, :, 0, -1] > 0).all()
    assert (whole[:, :, 1:, -1] == 0).all()


def test_a_backbone_without_a_class_token_is_refused(small_vit: Callable[..., VisionTransformer]) -> None:
    with pytest.raises(ModelError, match="has none"):
        plant_collapse(small_vit(class_token=False, global_pool="avg"), 8.0)
