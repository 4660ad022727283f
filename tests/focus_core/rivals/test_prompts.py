from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.config import TrainSettings
from focus_core.model import BandScale, Focus, ModelSpec
from focus_core.rivals.prompts import FreePrompts, LowRankPrompts, SharedUntilLast
from focus_core.training import Labelled, fit

VARIANTS = (FreePrompts, LowRankPrompts, SharedUntilLast)


def build(variant: type[Focus], vit: VisionTransformer, spec: ModelSpec) -> Focus:
    """Random where training would leave something, so that nothing is zero by chance."""
    model = variant(spec, vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1)))
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def same(variant: Focus, other: Focus, windows: torch.Tensor) -> None:
    for mine, theirs in zip(variant.explain(windows), other.explain(windows), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_importance_adds_up_and_groups_stay_apart(
    variant: type[Focus],
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    windows: torch.Tensor,
) -> None:
    model = build(variant, small_vit(), small_spec())
    swapped = windows.clone()
    swapped[0, 3:6] = windows[1, 3:6]
    before, after = model.explain(windows), model.explain(swapped)
    torch.testing.assert_close(before.saliency.sum((-1, -2)), before.importance, atol=1e-4, rtol=1e-4)
    assert torch.equal(before.evidence[:, :, [0, 2, 3]], after.evidence[:, :, [0, 2, 3]])
    change = (after.importance - before.importance)[0, :, 1]
    assert change.abs().max() > 1e-3
    torch.testing.assert_close((after.logit - before.logit)[0], change, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_learns_what_is_planted(
    variant: type[Focus],
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    model = variant(small_spec(prompt_seeds=1), small_vit(), BandScale(torch.full((12,), 0.3), torch.full((12,), 0.05)))
    settings = TrainSettings(augmented_copies=0, group_dropout=(0.3,))
    fit(model, planted(), planted(plots=12, seed=1), settings)
    unseen = planted(plots=18, seed=2)
    importance = model.explain(unseen.reflectance).importance
    assert importance[unseen.label == 1, 1].mean(0).argmax() == 1
    assert importance[unseen.label == 2, 2].mean(0).argmax() == 2


@torch.no_grad()
def test_free_prompts_that_are_sums_are_shared_ones(
    small_model: Callable[..., Focus], small_vit: Callable[..., VisionTransformer], windows: torch.Tensor
) -> None:
    model = small_model()
    free = build(FreePrompts, small_vit(), model.spec)
    free.load_state_dict(model.state_dict(), strict=False)
    for mine, theirs in zip(free.rows, model.rows, strict=True):
        mine.free_prompts.copy_(theirs.class_prompts[:, None] + theirs.group_prompts[:, :, None])
    same(free, model, windows)


@torch.no_grad()
def test_a_low_rank_part_is_added_to_shared_prompts(
    small_model: Callable[..., Focus], small_vit: Callable[..., VisionTransformer], windows: torch.Tensor
) -> None:
    model = small_model()
    low_rank = build(LowRankPrompts, small_vit(), model.spec)
    low_rank.load_state_dict(model.state_dict(), strict=False)
    extra = low_rank.rows[0].prompts(1) - model.rows[0].prompts(1)
    assert torch.linalg.matrix_rank(extra.flatten(1)) > 1  # of groups: no sum of a class's and a group's is left
    for rows in low_rank.rows:
        rows.class_factors.zero_()
    same(low_rank, model, windows)


@torch.no_grad()
def test_shared_rows_are_those_of_classes_with_one_prompt(
    small_model: Callable[..., Focus], small_vit: Callable[..., VisionTransformer], windows: torch.Tensor
) -> None:
    model = small_model()
    shared = build(SharedUntilLast, small_vit(), model.spec)
    shared.load_state_dict(model.state_dict())
    assert (shared.explain(windows).evidence - model.explain(windows).evidence).abs().max() > 1e-4
    for rows in model.rows:
        rows.class_prompts[:-1] = 0.0
    same(shared, model, windows)
