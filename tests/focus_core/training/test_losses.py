import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_core.model import GroupRange
from focus_core.training.losses import attraction_loss, empty_images, likeness, roughness

SHARES = st.floats(0.01, 0.99)


@given(on_empty=SHARES, on_tiles=SHARES)
def test_the_loss_falls_as_the_sink_takes_what_is_empty_and_leaves_what_is_not(
    on_empty: float, on_tiles: float
) -> None:
    def loss(empty: float, tiles: float) -> float:
        return float(attraction_loss(torch.tensor([empty]), torch.tensor([tiles])))

    assert loss(on_empty * 0.9, on_tiles) > loss(on_empty, on_tiles) > 0
    assert loss(on_empty, on_tiles * 0.9) < loss(on_empty, on_tiles)


def test_swallowing_everything_is_not_a_minimum() -> None:
    everything = attraction_loss(torch.ones(4), torch.ones(4))
    nothing = attraction_loss(torch.zeros(4), torch.zeros(4))
    right = attraction_loss(torch.ones(4), torch.zeros(4))
    assert right < everything
    assert right < nothing


def test_a_third_of_the_empty_images_is_plain_background() -> None:
    images = empty_images(9, 4, 4, torch.Generator().manual_seed(0))
    assert (images[:3] == 0).all()
    assert (images[3:].std((1, 2, 3)) > 0).all()


def group(lo_nm: float, hi_nm: float) -> GroupRange:
    return GroupRange(name=f"{lo_nm}", lo_nm=lo_nm, hi_nm=hi_nm)


def test_narrow_neighbours_are_alike_and_wide_or_distant_ones_are_not() -> None:
    groups = [group(400, 450), group(450, 500), group(700, 750), group(750, 1450)]
    near, far, wide = likeness(groups).tolist()
    assert near == pytest.approx(math.exp(-1.0))
    assert far < 0.01
    assert wide < 0.01


@given(scale=st.floats(-3.0, 3.0), step=st.floats(0.1, 2.0))
def test_only_differences_between_neighbours_are_rough(scale: float, step: float) -> None:
    alike = torch.tensor([0.5, 0.25])
    loading = torch.full((2, 3, 4, 5), scale)
    assert roughness(loading, alike) == 0.0
    loading[:, 2] += step
    assert float(roughness(loading, alike)) == pytest.approx(0.25 * 2 * 4 * 5 * step**2, rel=1e-4)
