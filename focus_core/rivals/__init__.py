"""Rivals of FOCUS on the same frozen features and plots, behind one interface; only a bench needs them.

The rivals on tiles explain a linear head, Prompt-CAM explains itself; those on plot means need no network.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from focus_core.rivals.ablation import Ablation, Occlusion
from focus_core.rivals.cam import EigenCam, GradCam
from focus_core.rivals.gradients import IntegratedGradients
from focus_core.rivals.head import LinearHead, fit_head
from focus_core.rivals.plot_means import FOREST_READ_OUT, PLS_VIP_READ_OUT, forest_permutation, pls_vip
from focus_core.rivals.prompt_cam import PromptCam, PromptCamSettings, fit_prompt_cam
from focus_core.rivals.protocol import Rival, RivalExplanation
from focus_core.rivals.rollout import Rollout

__all__ = [
    "FOREST_READ_OUT",
    "PLS_VIP_READ_OUT",
    "LinearHead",
    "PromptCam",
    "PromptCamSettings",
    "Rival",
    "RivalExplanation",
    "fit_head",
    "fit_prompt_cam",
    "forest_permutation",
    "pls_vip",
    "rivals_on_tiles",
]


def rivals_on_tiles(
    head: LinearHead,
    reference_images: Float[Tensor, "reference group 3 height width"],
    *,
    seed: int = 1,
) -> list[Rival]:
    """Return every rival that explains the linear head; Prompt-CAM is trained, so it comes from `fit_prompt_cam`.

    Parameters
    ----------
    head
        The fitted head.
    reference_images
        Group images of training tiles of the reference class; without one, of all classes alike.
    seed
        Seed of the reference tiles that the ablation draws.

    Raises
    ------
    SettingsError
        If the extra ``bench`` is not installed.
    """
    return [
        GradCam(head),
        EigenCam(head),
        IntegratedGradients(head, reference_images),
        Ablation(head, reference_images, seed=seed),
        Occlusion(head),
        Rollout(head),
    ]
