import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_core.model import BandScale, FrontEnd


def front_end(group_of_band: list[int], input_px: int = 8) -> FrontEnd:
    bands = len(group_of_band)
    return FrontEnd(
        np.array(group_of_band),
        BandScale(torch.linspace(0.1, 0.5, bands), torch.linspace(0.05, 0.2, bands)),
        input_px=input_px,
        patch_px=4,
    )


@given(group=st.integers(0, 2), seed=st.integers(0, 100))
def test_changing_the_bands_of_one_group_leaves_other_images_bit_equal(group: int, seed: int) -> None:
    groups = [-1, 0, 0, 0, 1, 1, -1, 2, 2, 2, 2]
    make = front_end(groups)
    generator = torch.Generator().manual_seed(seed)
    before = torch.rand(1, len(groups), 8, 8, generator=generator)
    after = before.clone()
    after[:, np.array(groups) == group] = torch.rand(1, groups.count(group), 8, 8, generator=generator)
    left, right = make(before).images, make(after).images
    others = [index for index in range(3) if index != group]
    assert torch.equal(left[:, others], right[:, others])
    assert not torch.equal(left[:, group], right[:, group])


def test_pixels_outside_the_plot_become_the_training_mean() -> None:
    reflectance = torch.full((1, 3, 8, 8), 0.9)
    reflectance[..., :4] = torch.nan
    images, occupied, _ = front_end([0, 0, 0])(reflectance)
    assert (images[..., :4] == 0).all()
    assert (images[..., 4:] > 0).all()
    assert occupied.tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_a_pixel_is_inside_where_any_band_of_a_group_has_a_value() -> None:
    reflectance = torch.full((1, 4, 8, 8), torch.nan)
    reflectance[0, 0, :4] = 0.3  # of no group
    reflectance[0, 3, :, 4:] = 0.3
    images, occupied, _ = front_end([-1, 0, 0, 0])(reflectance)
    assert occupied.tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert (images[0, 0, :2] == 0).all()
    assert (images[0, 0, 2, :, 4:] != 0).all()


def test_a_window_is_seen_alike_alone_and_among_many() -> None:
    make = front_end([0] * 40 + [-1] + [1] * 9 + [2])
    windows = torch.rand(600, 51, 8, 8)  # more values than are standardised at a time
    windows[windows < 0.1] = torch.nan
    together = make(windows)
    for position in (0, 311, 599):
        alone = make(windows[position : position + 1])
        assert torch.equal(alone.images[0], together.images[position])
        assert torch.equal(alone.occupied[0], together.occupied[position])


def test_a_channel_is_the_mean_of_its_standardised_bands() -> None:
    make = front_end([0, 0, 0, 0, 0, 0])
    reflectance = torch.rand(1, 6, 8, 8)
    scaled = (reflectance - make.band_mean[:, None, None]) / make.band_std[:, None, None]
    torch.testing.assert_close(make(reflectance).images[0, 0, 1], scaled[0, 2:4].mean(0))


def test_a_group_of_one_band_repeats_it() -> None:
    images = front_end([-1, 0])(torch.rand(1, 2, 8, 8)).images
    assert images.shape == (1, 1, 3, 8, 8)
    assert torch.equal(images[:, :, 0], images[:, :, 2])


def test_windows_are_resampled_to_the_input() -> None:
    images, occupied, _ = front_end([0, 0, 0], input_px=8)(torch.rand(2, 3, 16, 16))
    assert images.shape[-2:] == (8, 8)
    assert occupied.shape == (2, 4)


@given(group=st.integers(0, 1), seed=st.integers(0, 100))
def test_a_pixel_that_no_training_plot_has_is_not_read_in_that_group(group: int, seed: int) -> None:
    groups = np.array([0, 0, 0, 0, 1, 1, 1])
    mean, std = torch.full((7,), 0.3), torch.full((7,), 0.05)
    make = FrontEnd(groups, BandScale(mean, std, mean - 0.2, mean + 0.2), input_px=8, patch_px=4)
    window = 0.3 + 0.1 * torch.rand(1, 7, 8, 8, generator=torch.Generator().manual_seed(seed))
    window[..., :2, :] = torch.nan
    before = make(window)
    assert (before.outlier_share == 0).all()
    sheet = window.clone()
    sheet[:, groups == group, 4:, 4:] = 0.8
    after = make(sheet)
    assert after.outlier_share[0, group] == 16 / 48  # of the plot's pixels, which are six rows of eight
    assert (after.images[0, group, :, 4:, 4:] == 0).all()
    assert torch.equal(after.images[0, group, :, :4], before.images[0, group, :, :4])
    assert torch.equal(after.images[0, 1 - group], before.images[0, 1 - group])
    assert torch.equal(after.occupied, before.occupied)  # the pixel lies inside the plot all the same


def test_one_wild_band_of_many_is_no_outlier() -> None:
    mean, std = torch.full((12,), 0.3), torch.full((12,), 0.05)
    make = FrontEnd(np.zeros(12, int), BandScale(mean, std, mean - 0.2, mean + 0.2), input_px=8, patch_px=4)
    window = torch.full((1, 12, 8, 8), 0.32)
    window[:, 5] = 0.8
    assert make(window).outlier_share == 0
