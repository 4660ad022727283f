from collections.abc import Callable

import pytest
from timm.models.vision_transformer import VisionTransformer

from focus_core.config import TrainSettings
from focus_core.config.settings import from_mapping
from focus_core.errors import SettingsError
from focus_core.model import BandScale, Focus, ModelSpec
from focus_core.training import Blocks, Labelled, best_blocks, fit, readable_blocks

SETTINGS = TrainSettings(epochs=3, augmented_copies=0, group_dropout=(0.3,), prompt_seeds=2, max_parameter_share=2.0)


@pytest.mark.parametrize(
    ("depth", "counts", "shares", "wanted"),
    [
        (6, (3,), (1.0, 0.5), [(1, 3, 5), (0, 1, 2)]),
        (12, (3,), (1.0, 0.5), [(3, 7, 11), (1, 3, 5)]),
        (12, (1, 3), (0.5,), [(5,), (1, 3, 5)]),
        (2, (3,), (1.0, 0.5), [(0, 1), (0,)]),
        (1, (3,), (1.0, 0.5), [(0,)]),
        (6, (2, 3), (0.1,), [(0,)]),
    ],
)
def test_blocks_are_spaced_over_a_share_of_the_depth_and_no_choice_stands_twice(
    depth: int, counts: tuple[int, ...], shares: tuple[float, ...], wanted: list[Blocks]
) -> None:
    assert readable_blocks(depth, TrainSettings(read_blocks=counts, read_depth=shares)) == wanted


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_of_the_depth_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="read_depth"):
        from_mapping(TrainSettings, {"read_depth": [share]})


def test_validation_plots_choose_the_blocks(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    data, checks = planted(seed=0), planted(plots=12, seed=1)
    pixels = data.reflectance.transpose(0, 1).flatten(1)
    built: list[int] = []

    def build(blocks: Blocks, settings: TrainSettings) -> Focus:
        built.append(settings.prompt_seeds)
        spec = small_spec(read_blocks=blocks, prompt_seeds=settings.prompt_seeds)
        return Focus(spec, small_vit(), BandScale(pixels.mean(1), pixels.std(1)))

    once = SETTINGS.model_copy(update={"prompt_seeds": 1})
    losses = {
        blocks: fit(build(blocks, once), data, checks, once).validation_loss for blocks in readable_blocks(3, SETTINGS)
    }
    assert len(losses) == 2
    built.clear()
    assert best_blocks(build, 3, data, checks, SETTINGS) == min(losses, key=losses.__getitem__)
    assert built == [1, 1]  # the choice is made with one prompt seed, whatever the settings say

    built.clear()
    only = SETTINGS.model_copy(update={"read_depth": (1.0,)})
    assert best_blocks(build, 3, data, checks, only) == (0, 1, 2)
    assert built == []
