"""What holds for every rival on tiles, and what each is by its own definition."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from focus_core.errors import SettingsError
from focus_core.rivals import LinearHead, rivals_on_tiles
from focus_core.rivals.ablation import Ablation, Occlusion
from focus_core.rivals.cam import EigenCam, GradCam
from focus_core.rivals.gradients import IntegratedGradients
from focus_core.rivals.head import features

WIDE = {"img_size": (12, 20), "reg_tokens": 2}


@pytest.mark.parametrize("arguments", [{}, WIDE], ids=["square", "registers and non-square"])
def test_every_rival_gives_its_shapes_and_says_how_it_is_read(
    small_head: Callable[..., LinearHead], arguments: dict[str, object]
) -> None:
    head = small_head(**arguments)
    height, width = head.vit.patch_embed.img_size
    images, reference = torch.randn(5, 4, 3, height, width), torch.randn(2, 4, 3, height, width)
    rivals = rivals_on_tiles(head, reference)
    names = ["gradcam", "eigencam", "integrated_gradients", "ablation", "occlusion", "rollout"]
    assert [rival.name for rival in rivals] == names
    for rival in rivals:
        importance, saliency = rival.explain(images)
        assert rival.read_out.startswith("n/a") == (importance is None)
        assert importance is None or importance.shape == (5, 3, 4)
        assert saliency is None or saliency.shape == (5, 3, 4, height // 4, width // 4)
        assert importance is not None or saliency is not None


def test_no_rival_depends_on_the_batch_or_leaves_hooks_and_gradients_behind(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    head = small_head()
    for rival in rivals_on_tiles(head, reference):
        for whole, alone in zip(rival.explain(images), rival.explain(images[2:3]), strict=True):
            if whole is not None:
                assert not whole.requires_grad
                torch.testing.assert_close(whole[2:3], alone, atol=1e-4, rtol=1e-4)
    assert not head.vit.blocks[-1].norm1._forward_hooks
    assert not images.requires_grad


def test_a_group_that_the_head_does_not_read_gets_nothing_from_rivals_that_ask_the_head(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    head = small_head(only=(1,))
    for rival in (GradCam(head), IntegratedGradients(head, reference), Ablation(head, reference)):
        importance, saliency = rival.explain(images)
        assert importance is not None
        assert (importance[:, :, [0, 2, 3]] == 0).all()
        assert importance[:, :, 1].abs().sum() > 0
        assert saliency is None or (saliency[:, :, [0, 2, 3]] == 0).all()
    occluded = Occlusion(head).explain(images).saliency
    assert occluded is not None
    assert (occluded[:, :, [0, 2, 3]] == 0).all()


def test_grad_cam_is_the_clipped_product_of_mean_gradients_and_activations(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    """By the definition of Selvaraju et al., on a backbone with registers; nothing is scaled to [0, 1]."""
    head = small_head(reg_tokens=2)
    held: list[torch.Tensor] = []
    hook = head.vit.blocks[-1].norm1.register_forward_hook(lambda _, __, given: held.append(given))
    logits = head.logits(images[:1].requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, 2], held[0])
    patches, slopes = held[0][:, 3:], gradient[:, 3:]
    wanted = (patches * slopes.mean(dim=1, keepdim=True)).sum(dim=-1).clamp_min(0.0)
    importance, saliency = GradCam(head).explain(images[:1])
    assert importance is not None
    assert saliency is not None
    torch.testing.assert_close(saliency[0, 2], wanted.detach().unflatten(1, (3, 3)), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(importance[0, 2], wanted.detach().sum(dim=1), atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_eigen_cam_is_the_clipped_projection_on_the_first_component_of_the_patches(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    head = small_head()
    held: list[torch.Tensor] = []
    hook = head.vit.blocks[-1].norm1.register_forward_hook(lambda _, __, given: held.append(given))
    head.vit.forward_features(images[0])
    hook.remove()
    saliency = EigenCam(head).explain(images[:1]).saliency
    assert saliency is not None
    for group, tokens in enumerate(held[0][:, 1:].numpy()):
        left, singular, _ = np.linalg.svd(tokens - tokens.mean(axis=0))
        projected = left[:, 0] * singular[0]
        found = saliency[0, 0, group].flatten().numpy()
        either = [np.maximum(sign * projected, 0.0) for sign in (1.0, -1.0)]  # no SVD says which sign
        assert min(np.abs(found - wanted).max() for wanted in either) < 1e-4
    torch.testing.assert_close(saliency[:, 0], saliency[:, 2])


def test_integrated_gradients_add_up_to_the_logit_less_the_mean_reference_images(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    head = small_head()
    importance, saliency = IntegratedGradients(head, reference).explain(images)
    assert importance is not None
    assert saliency is not None
    baseline = reference.mean(dim=0, keepdim=True)
    per_group = head.evidence(images) - head.evidence(baseline)
    torch.testing.assert_close(importance, per_group, atol=0.02, rtol=0.02)
    torch.testing.assert_close(
        importance.sum(dim=-1), head.logits(images) - head.logits(baseline), atol=0.03, rtol=0.03
    )
    torch.testing.assert_close(saliency.sum(dim=(-2, -1)), importance)


@torch.no_grad()
def test_ablation_of_an_additive_head_is_the_exact_difference_to_the_mean_reference_features(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    head = small_head()
    found = Ablation(head, reference, draws=10).explain(images).importance
    difference = features(head.vit, images) - features(head.vit, reference).mean(dim=0)
    wanted = torch.einsum("tgd,cgd->tcg", difference, head.weight)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_ablation_gives_each_tile_reference_tiles_of_its_own(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    """One for all tiles would leave its oddity in the mean over tiles, which is a class's curve."""
    head = small_head()
    alike = images[:1].expand(3, -1, -1, -1, -1)
    found = Ablation(head, reference, draws=1).explain(alike).importance
    assert found is not None
    wanted = head.evidence(images[:1]) - head.evidence(reference)
    torch.testing.assert_close(found.mean(dim=0), wanted.mean(dim=0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.sort(dim=0).values, wanted.sort(dim=0).values, atol=1e-4, rtol=1e-4)


def test_ablation_draws_reference_tiles_by_its_seed(
    small_head: Callable[..., LinearHead], images: torch.Tensor, reference: torch.Tensor
) -> None:
    head = small_head()
    first, again, other = (
        Ablation(head, reference, draws=1, seed=seed).explain(images).importance for seed in (1, 1, 2)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@torch.no_grad()
def test_occlusion_of_a_patch_is_what_the_groups_evidence_falls_by(
    small_head: Callable[..., LinearHead], images: torch.Tensor
) -> None:
    head = small_head(img_size=(12, 20))
    images = torch.randn(2, 4, 3, 12, 20)
    saliency = Occlusion(head).explain(images).saliency
    assert saliency is not None
    hidden = images.clone()
    hidden[..., 4:8, 12:16] = 0.0
    torch.testing.assert_close(saliency[..., 1, 3], head.evidence(images) - head.evidence(hidden), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("missing", ["captum", "pytorch_grad_cam"])
def test_a_missing_extra_is_named(
    small_head: Callable[..., LinearHead], reference: torch.Tensor, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing] or [missing]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=r"pip install 'focus-core\[bench\]'"):
        rivals_on_tiles(small_head(), reference)
