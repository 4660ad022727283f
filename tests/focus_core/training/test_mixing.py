import torch
from hypothesis import given
from hypothesis import strategies as st

from focus_core.training.losses import patch_loss, sides
from focus_core.training.mixing import Mixed, mix, unmixed

WHOLE = torch.ones(6, 12)
"""Six windows of twelve patches, all of them inside their plots."""


def noise(tiles: int, seed: int) -> torch.Tensor:
    return torch.randn(tiles, 2, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


@given(labels=st.lists(st.integers(0, 2), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_each_side_of_a_cut_is_of_one_window_and_its_class(labels: list[int], seed: int) -> None:
    images, label = noise(len(labels), seed), torch.tensor(labels)
    inside = torch.rand(len(labels), 12, generator=torch.Generator().manual_seed(seed))
    mixed = mix(images, label, inside, (3, 4), torch.Generator().manual_seed(seed))
    for tile in range(len(labels)):
        behind = mixed.region[tile].reshape(3, 4).repeat_interleave(4, 0).repeat_interleave(4, 1) > 0
        assert torch.equal(mixed.images[tile][..., ~behind], images[tile][..., ~behind])
        kept = mixed.region[tile] == 0
        assert torch.equal(mixed.inside[tile][kept], inside[tile][kept])
        if len(set(labels)) == 1:
            assert not behind.any()
            continue
        assert 0 < behind.sum() < 12 * 16
        assert mixed.other[tile] != label[tile]
        sources = [torch.equal(mixed.images[tile][..., behind], each[..., behind]) for each in images]
        assert sum(sources) == 1
        source = sources.index(True)
        assert label[source] == mixed.other[tile]
        assert torch.equal(mixed.inside[tile][~kept], inside[source][~kept])


@given(seed=st.integers(0, 99))
def test_a_cut_leaves_whole_rows_or_columns_on_both_sides(seed: int) -> None:
    region = mix(noise(6, seed), torch.arange(6) % 2, WHOLE, (3, 4), torch.Generator().manual_seed(seed)).region
    for one in region.reshape(6, 3, 4):
        assert torch.equal(one, one[:1].expand(3, 4)) or torch.equal(one, one[:, :1].expand(3, 4))


def test_the_same_seed_gives_the_same_mixture() -> None:
    first, second = (
        mix(noise(5, 0), torch.arange(5), WHOLE[:5], (3, 4), torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_side_counts_as_if_the_whole_window_looked_like_it() -> None:
    words = torch.zeros(1, 2, 5)
    words[0, 1, 0] = 10.0  # before the patches: of both sides
    words[0, 1, 1], words[0, 0, 2:] = 3.0, 1.0
    windows = Mixed(
        torch.zeros(1, 1, 3, 2, 2),
        torch.tensor([1]),
        torch.tensor([0]),
        torch.tensor([[0.0, 1, 1, 1]]),
        torch.ones(1, 4),
    )
    found = sides(words, torch.tensor([0.5, 0.0]), windows)
    torch.testing.assert_close(found.logit, torch.tensor([[0.5, 22.0], [4.5, 10.0]]))
    assert found.label.tolist() == [1, 0]
    assert found.share.tolist() == [0.25, 0.75]


def test_the_loss_of_a_whole_window_is_its_cross_entropy() -> None:
    words = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))
    label, weight = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 2.0, 0.5])
    found = sides(words, torch.zeros(3), unmixed(torch.zeros(4, 1, 3, 2, 2), label, torch.ones(4, 6))).loss(weight)
    each = torch.nn.functional.cross_entropy(words.sum(-1), label, weight=weight, reduction="none")
    torch.testing.assert_close(found, each.mean())


@given(seed=st.integers(0, 99))
def test_the_loss_of_patches_is_that_of_windows_of_such_patches(seed: int) -> None:
    words = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    label, other, bias = torch.tensor([0, 2]), torch.tensor([1, 2]), torch.tensor([0.1, -0.2, 0.3])
    region, weight = torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 0, 0]]), torch.tensor([1.0, 2.0, 0.5])
    inside = torch.tensor([[1.0, 0.5, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    windows = Mixed(torch.zeros(2, 1, 3, 2, 2), label, other, region, inside)
    expected = 0.0
    for tile in range(2):
        for patch in range(4):  # behind the one token that has no place
            alike = words[tile : tile + 1, :, 1 + patch, None].expand(1, 3, 4)
            own = (other if region[tile, patch] else label)[tile : tile + 1]
            alone = unmixed(torch.zeros(1, 1, 3, 2, 2), own, torch.ones(1, 4))
            expected += inside[tile, patch] * sides(alike, bias, alone).loss(weight)
    torch.testing.assert_close(patch_loss(words, bias, windows, weight), expected / inside.sum())


def test_patches_outside_every_plot_are_not_looked_at() -> None:
    words = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    windows = unmixed(torch.zeros(1, 1, 3, 2, 2), torch.tensor([1]), torch.zeros(1, 4))
    assert patch_loss(words, torch.zeros(3), windows, torch.ones(3)) == 0.0
