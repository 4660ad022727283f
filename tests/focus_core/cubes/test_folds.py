from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from focus_core.config.campaign import Folds
from focus_core.cubes.folds import assign_folds

TRIAL = [(f"B{block:02d}", label) for block in range(24) for label in range(4)]


def split(plots: list[tuple[str, int]], **settings: float) -> dict[str, str]:
    return assign_folds([block for block, _ in plots], [label for _, label in plots], Folds(**settings))  # type: ignore[arg-type]


@given(st.integers(0, 1000), st.permutations(TRIAL))
def test_order_of_plots_does_not_matter_and_shares_hold(seed: int, shuffled: list[tuple[str, int]]) -> None:
    found = split(TRIAL, seed=seed)
    assert found == split(shuffled, seed=seed)
    assert Counter(found.values()) == {"train": 10, "validation": 4, "gate": 3, "test": 7}


def test_another_seed_is_another_rotation() -> None:
    assert len({tuple(split(TRIAL, seed=seed).values()) for seed in range(6)}) == 6


def test_flights_over_complete_blocks_are_split_alike_whatever_their_labels() -> None:
    rng = np.random.default_rng(0)
    relabelled = [(block, int(label)) for (block, _), label in zip(TRIAL, np.tile(rng.permutation(4), 24), strict=True)]
    assert split(TRIAL) == split(relabelled) == split([(block, -1) for block, _ in TRIAL])


@given(st.integers(0, 200))
def test_every_class_has_a_training_plot_where_it_can(seed: int) -> None:
    plots = [(f"B{block}", block % 2) for block in range(4)]
    found = split(plots, seed=seed, train=0.5, validation=0.0, gate=0.0, test=0.5)
    trained = {label for block, label in plots if found[block] == "train"}
    assert trained == {0, 1}


def test_a_sliver_does_not_stand_for_its_class() -> None:
    blocks, labels = ["a", "b", "c", "d"], [0, 0, 1, 1]
    for seed in range(20):
        folds = Folds(train=0.5, validation=0.0, gate=0.0, test=0.5, seed=seed)
        found = assign_folds(blocks, labels, folds, counted=[True, False, True, True])
        assert found["a"] == "train"


def test_few_blocks_still_train() -> None:
    assert split([("only", 0)]) == {"only": "train"}
    assert "train" in split([("a", 0), ("b", 1)]).values()
    assert sorted(split([(name, 0) for name in "abcd"]).values()) == ["gate", "test", "train", "validation"]
