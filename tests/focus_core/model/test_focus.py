from collections.abc import Callable

import pytest
import timm
import torch
from jaxtyping import TypeCheckError

from focus_core.errors import ModelError
from focus_core.model import BandScale, Focus, ModelSpec, evenly_spaced


def test_importance_and_bias_add_up_to_the_logit(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model()
    explained = model.explain(windows)
    torch.testing.assert_close(explained.importance.sum(-1) + model.bias, explained.logit)
    from_evidence = model.contrastive(explained.evidence).sum(-1) + model.class_bias()
    torch.testing.assert_close(from_evidence, explained.logit, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(explained.logit.sum(-1), torch.zeros(5), atol=1e-4, rtol=0.0)


def test_a_model_is_the_mean_of_its_prompt_seeds(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model()
    whole, alone = model.explain(windows), []
    for seed in range(2):
        single = small_model(prompt_seeds=1)
        single.rows[0].load_state_dict(model.rows[seed].state_dict())
        single.reference_mean.copy_(model.reference_mean[:, [seed]])
        alone.append(single.explain(windows))
        torch.testing.assert_close(alone[-1].importance, whole.seed_importance[:, :, seed], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone[-1].seed_importance[:, :, 0], alone[-1].importance)
    assert (alone[0].importance - alone[1].importance).abs().max() > 0.1
    for name in ("evidence", "importance", "logit", "saliency", "sink_share"):
        mean = (getattr(alone[0], name) + getattr(alone[1], name)) / 2
        torch.testing.assert_close(getattr(whole, name), mean, atol=1e-5, rtol=1e-5)


def test_saliency_adds_up_to_importance(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    explained = small_model().explain(windows)
    assert explained.saliency.shape == (5, 3, 4, 3, 3)
    torch.testing.assert_close(explained.saliency.sum((-1, -2)), explained.importance, atol=1e-5, rtol=1e-5)


def test_swapping_a_group_leaves_other_evidence_bit_equal_and_moves_the_logit_by_its_change(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model()
    swapped = windows.clone()
    swapped[0, 3:6] = windows[1, 3:6]
    before, after = model.explain(windows), model.explain(swapped)
    others = [0, 2, 3]
    assert torch.equal(before.evidence[:, :, others], after.evidence[:, :, others])
    change = (after.importance - before.importance)[0, :, 1]
    assert change.abs().max() > 1e-3
    torch.testing.assert_close((after.logit - before.logit)[0], change, atol=1e-5, rtol=1e-5)


def test_a_window_is_explained_alike_whatever_its_batch(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model()
    torch.testing.assert_close(model.explain(windows[2:3]).evidence, model.explain(windows).evidence[2:3])


def test_the_bad_band_is_not_seen(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    changed = windows.clone()
    changed[:, 11, :, 4:] += 1.0
    model = small_model()
    assert torch.equal(model.explain(windows).evidence, model.explain(changed).evidence)


def test_without_a_sink_nothing_is_absorbed(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model(sink=False)
    assert all(rows.sink_keys is None for rows in model.rows)
    assert (model.explain(windows).sink_share == 0).all()


def test_what_a_patch_says_is_its_saliency_and_the_reference_is_spread_over_the_plot(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model()
    before = model.explain(windows).saliency
    model.reference_mean += 6.0
    moved = model.explain(windows).saliency - before
    torch.testing.assert_close(moved[..., 1:], torch.full((5, 3, 4, 3, 2), -1.0), atol=1e-5, rtol=1e-5)
    assert moved[..., 0].abs().max() < 1e-5  # the left column lies outside the plot


def test_class_and_register_tokens_are_not_read(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    explained = small_model().explain(windows)
    assert (explained.token_share == 0).all()
    assert (explained.prefix_attention == 0).all()


def test_background_takes_no_more_than_all_attention(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    explained = small_model().explain(windows)
    assert (explained.background_attention > 0).all()
    assert (explained.background_attention < 1).all()


def test_the_state_holds_no_backbone_tensor(small_model: Callable[..., Focus]) -> None:
    model = small_model()
    assert set(model.state_dict()) == {
        *(
            f"rows.{seed}.{name}"
            for seed in range(2)
            for name in ("class_prompts", "group_prompts", "sink_keys", "basis", "loading", "class_bias")
        ),
        "reference_mean",
        "front_end.band_mean",
        "front_end.band_std",
        "front_end.band_low",
        "front_end.band_high",
    }
    assert not any(parameter.requires_grad for parameter in model.vit.parameters())


def test_a_backbone_of_another_input_size_is_refused(small_model: Callable[..., Focus]) -> None:
    with pytest.raises(ModelError, match=r"takes \(12, 12\) px, but windows come as 16 px"):
        small_model(input_px=16)


def test_a_block_that_the_backbone_does_not_have_is_refused(small_model: Callable[..., Focus]) -> None:
    with pytest.raises(ModelError, match="block 3 is to be read on a backbone of 3 blocks"):
        small_model(read_blocks=(0, 3))


@pytest.mark.parametrize(
    ("depth", "count", "wanted"),
    [(6, 3, (1, 3, 5)), (12, 3, (3, 7, 11)), (12, 1, (11,)), (2, 3, (0, 1)), (7, 3, (1, 4, 6))],
)
def test_blocks_are_read_at_even_distances_and_the_last_among_them(
    depth: int, count: int, wanted: tuple[int, ...]
) -> None:
    assert evenly_spaced(depth, count) == wanted


def test_shapes_in_signatures_are_executed(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    with pytest.raises(TypeCheckError, match="reflectance"):
        small_model().explain(windows[0])


@pytest.mark.parametrize(
    "name",
    ["vit_base_patch16_siglip_224", "vit_small_patch16_dinov3", "vit_base_patch16_sapiens2", "eva02_tiny_patch14_224"],
)
def test_importance_adds_up_to_the_logit_on_every_kind_of_backbone(
    name: str, small_spec: Callable[..., ModelSpec]
) -> None:
    size = 28 if "patch14" in name else 32
    torch.manual_seed(0)
    extra = {"num_kv_heads": 2} if "sapiens2" in name else {}
    vit = timm.create_model(name, num_classes=0, img_size=size, depth=3, embed_dim=64, num_heads=4, **extra)
    model = Focus(small_spec(input_px=size), vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    found = model.explain(0.3 + 0.1 * torch.randn(2, 12, size, size))
    torch.testing.assert_close(found.importance.sum(-1) + model.bias, found.logit)
    torch.testing.assert_close(found.saliency.sum((-2, -1)), found.importance, atol=1e-4, rtol=1e-4)
