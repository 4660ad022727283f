from collections.abc import Callable

import torch

from focus_core.evaluation import cost, swap_check
from focus_core.model import Focus


def test_a_swap_moves_nothing_but_its_own_group(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    found = swap_check(small_model(), windows, seed=0)
    assert found["swap_other_evidence"] == 0.0
    assert found["swap_logit_error"] < 1e-4


def test_the_swap_check_sees_a_model_that_mixes_groups(
    small_model: Callable[..., Focus], windows: torch.Tensor
) -> None:
    model = small_model()
    honest = model.front_end.forward

    def mixing(reflectance: torch.Tensor) -> object:
        found = honest(reflectance)
        return found._replace(images=found.images - found.images.mean(dim=1, keepdim=True))

    model.front_end.forward = mixing  # type: ignore[method-assign]
    assert swap_check(model, windows, seed=0)["swap_other_evidence"] > 1e-3


def test_cost_is_measured_beside_a_plain_pass(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model()
    found = cost(model, windows)
    assert found["cost.time_ratio"] > 0
    trained = sum(parameter.numel() for parameter in model.parameters())
    frozen = sum(parameter.numel() for parameter in model.vit.parameters())
    assert found["cost.parameter_share"] == trained / frozen
