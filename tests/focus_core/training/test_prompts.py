from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.config import TrainSettings
from focus_core.model import BandScale, Focus, ModelSpec
from focus_core.training import Labelled, fit
from focus_core.training.windows import plot_labels, plot_means

SETTINGS = TrainSettings(epochs=25, patience=25, augmented_copies=1, group_dropout=(0.3,), max_parameter_share=2.0)


def fresh(vit: VisionTransformer, spec: ModelSpec, data: Labelled) -> Focus:
    pixels = data.reflectance.transpose(0, 1).flatten(1)
    return Focus(spec, vit, BandScale(pixels.mean(1), pixels.std(1)))


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest) -> dict[str, object]:
    return {}


@pytest.fixture
def fitted(
    trained: dict[str, object],
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> tuple[Focus, dict[str, torch.Tensor]]:
    """One trained model for the tests that only look at it, with the backbone's tensors from before."""
    if "model" not in trained:
        vit, data = small_vit(), planted(seed=0)
        trained["before"] = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
        model = fresh(vit, small_spec(), data)
        fit(model, data, planted(plots=12, seed=1), SETTINGS)
        trained["model"] = model
    return trained["model"], trained["before"]  # type: ignore[return-value]


def curve(model: Focus, data: Labelled, cls: int) -> np.ndarray:
    return model.explain(data.reflectance[data.label == cls]).importance[:, cls].mean(0).numpy()


def test_held_out_plots_are_told_apart(fitted: tuple[Focus, object], planted: Callable[..., Labelled]) -> None:
    model, data = fitted[0], planted(plots=30, seed=2)
    found = plot_means(model.explain(data.reflectance).logit, data).argmax(1)
    assert (found == plot_labels(data)).float().mean() >= 0.9


def test_the_backbone_is_bit_equal_after_training(fitted: tuple[Focus, dict[str, torch.Tensor]]) -> None:
    model, before = fitted
    after = model.vit.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_importance_peaks_where_the_signal_was_planted(
    fitted: tuple[Focus, object], planted: Callable[..., Labelled]
) -> None:
    data = planted(plots=30, seed=2)
    assert curve(fitted[0], data, 1).argmax() == 1
    assert curve(fitted[0], data, 2).argmax() == 2


def test_a_group_of_noise_holds_next_to_nothing(fitted: tuple[Focus, object], planted: Callable[..., Labelled]) -> None:
    for cls in (1, 2):
        values = np.abs(curve(fitted[0], planted(plots=60, seed=2), cls))
        assert values[3] / values.sum() <= 0.02


def test_importance_of_the_reference_class_is_zero_on_average(
    fitted: tuple[Focus, object], planted: Callable[..., Labelled]
) -> None:
    data = planted(seed=0)
    control = data.reflectance[data.label == 0]
    mean = fitted[0].explain(control).importance.mean(0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=5e-3, rtol=0.0)


def test_the_sink_takes_rows_that_have_nothing_to_read(
    fitted: tuple[Focus, object], planted: Callable[..., Labelled]
) -> None:
    model, data = fitted[0], planted(seed=2)
    share = model.explain(data.reflectance).sink_share.mean((0, 1))
    assert share[3] > 1.2 * share[1]
    assert share[3] > 1.2 * share[2]


def test_saliency_lies_where_the_signal_was_planted(
    fitted: tuple[Focus, object], planted: Callable[..., Labelled]
) -> None:
    data = planted(plots=30, seed=2)
    for cls in (1, 2):
        stressed = data.reflectance[data.label == cls]
        rows = fitted[0].explain(stressed).saliency[:, cls].sum((1, 3)).mean(0)
        assert rows[2] > 3 * rows[0].abs()  # the lower half of a window of three rows of patches


def test_smoothness_draws_neighbouring_groups_together(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    def difference(smoothness: float) -> float:
        data, model = planted(seed=0), fresh(small_vit(), small_spec(), planted(seed=0))
        fit(model, data, planted(plots=12, seed=1), SETTINGS.model_copy(update={"epochs": 4, "smoothness": smoothness}))
        loading = torch.stack([rows.loading for rows in model.rows]).detach()
        return float((loading[:, :, 1:] - loading[:, :, :-1]).square().sum() / loading.square().sum())

    assert difference(10.0) < 0.5 * difference(0.0)


def test_a_ridge_takes_the_evidence_of_noise_away(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    def of_noise_over_planted(ridge: float) -> float:
        data, model = planted(seed=0), fresh(small_vit(), small_spec(), planted(seed=0))
        settings = SETTINGS.model_copy(update={"epochs": 8, "group_dropout": (0.0,), "ridge": ridge})
        fit(model, data, planted(plots=12, seed=1), settings)
        found = curve(model, planted(plots=60, seed=2), 1)
        return float(abs(found[3]) / found[1])

    assert of_noise_over_planted(0.3) < 0.5 * of_noise_over_planted(0.0)


def test_validation_plots_choose_the_dropout(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    data, checks = planted(seed=0), planted(plots=12, seed=1)
    both = SETTINGS.model_copy(update={"epochs": 4, "group_dropout": (0.9, 0.0)})
    spec, losses = small_spec(prompt_seeds=1), {}  # the first seed's loss is what the choice is made by
    for dropout in both.group_dropout:
        alone = both.model_copy(update={"group_dropout": (dropout,)})
        losses[dropout] = fit(fresh(small_vit(), spec, data), data, checks, alone).validation_loss
    model = fresh(small_vit(), spec, data)
    found = fit(model, data, checks, both)
    assert model.spec.group_dropout == min(losses, key=losses.__getitem__)
    assert found.validation_loss == min(losses.values())


def test_a_planted_shortcut_shows_in_the_curve(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    data = planted(seed=0, shortcut=True)
    model = fresh(small_vit(), small_spec(), data)
    fit(model, data, planted(plots=12, seed=1, shortcut=True), SETTINGS)
    values = curve(model, planted(seed=2, shortcut=True), 1)
    assert values[0] > 0.2 * np.abs(values).sum()


def test_a_range_withheld_in_training_holds_nothing_and_moves_nothing(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    whole, data = small_spec(), planted(seed=0)
    spec = small_spec(groups=tuple(group for group in whole.groups if group.name != "g1"))
    model = fresh(small_vit(), spec, data)
    fit(model, data, planted(plots=12, seed=1), SETTINGS.model_copy(update={"epochs": 5}))
    drought = data.reflectance[data.label == 1]
    changed = drought.clone()
    changed[:, 3:6] += 0.3  # what drought lowers
    before, after = model.explain(drought), model.explain(changed)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (model.spec.group_of_band()[3:6] == -1).all()


def test_random_prompts_tell_nothing_apart(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    data, right, at_peak = planted(plots=60, seed=2), [], []
    for seed in range(12):
        model, generator = fresh(small_vit(), small_spec(), data), torch.Generator().manual_seed(seed)
        for rows in model.rows:
            rows.initialise(generator)
            torch.nn.init.normal_(rows.loading, generator=generator)
        found = plot_means(model.explain(data.reflectance).logit, data).argmax(1)
        right.append((found == plot_labels(data)).float().mean())
        at_peak.append(curve(model, data, 1).argmax() == 1)
    assert 0.2 < np.mean(right) < 0.45  # chance is a third
    assert np.mean(at_peak) < 0.6  # chance is a quarter


def test_shuffled_labels_leave_nothing_to_learn(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    data, checks, test = planted(seed=0), planted(plots=12, seed=1), planted(plots=60, seed=2)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    shuffled = data._replace(label=plot_labels(data)[order][data.plot])
    model = fresh(small_vit(), small_spec(), data)
    fit(model, shuffled, checks, SETTINGS)
    found = plot_means(model.explain(test.reflectance).logit, test).argmax(1)
    assert (found == plot_labels(test)).float().mean() < 0.6


def test_the_same_seed_gives_the_same_bits(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    states = []
    settings = SETTINGS.model_copy(update={"epochs": 2})
    for _ in range(2):
        data = planted(seed=0)
        model = fresh(small_vit(), small_spec(), data)
        fit(model, data, planted(plots=12, seed=1), settings)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_plots_logit_is_weighted_by_coverage() -> None:
    data = Labelled(
        torch.zeros(3, 1, 4, 4), torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 2.0])
    )
    logits = torch.tensor([[0.0, 4.0], [4.0, 0.0], [1.0, 2.0]])
    assert plot_means(logits, data).tolist() == [[3.0, 1.0], [1.0, 2.0]]
