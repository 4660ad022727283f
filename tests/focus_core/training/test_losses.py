import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_core.training.losses import attraction_loss, empty_images

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
