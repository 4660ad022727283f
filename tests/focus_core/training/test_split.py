from collections.abc import Callable

import pytest
import torch

from focus_core.model import Focus
from focus_core.training import Labelled, split_top_groups


@pytest.fixture
def model(small_model: Callable[..., Focus]) -> Focus:
    return small_model()


def data(windows: torch.Tensor) -> Labelled:
    """One plot of each class and two more; each window is a plot."""
    return Labelled(windows, torch.tensor([0, 1, 2, 1, 2]), torch.arange(5), torch.ones(5))


def strongest(model: Focus, found: Labelled, cls: int) -> int:
    own = model.explain(found.reflectance[found.label == cls]).importance[:, cls].mean(dim=0)
    return int(own.argmax())


def test_the_strongest_group_of_each_stress_is_cut_and_no_other(model: Focus, windows: torch.Tensor) -> None:
    found = data(windows)
    spec = split_top_groups(model, found, count=1, part_nm=50.0)
    cut = {strongest(model, found, cls) for cls in (1, 2)}  # class 0 is the reference
    for index, group in enumerate(model.spec.groups):
        parts = [each for each in spec.groups if group.lo_nm <= each.lo_nm < group.hi_nm]
        assert len(parts) == ((2 if index == 3 else 3) if index in cut else 1)  # the last band is bad
        assert parts[0].lo_nm == group.lo_nm
        assert index not in cut or [each.hi_nm - each.lo_nm for each in parts] == [50.0] * len(parts)
    of_band = spec.group_of_band()
    assert ((of_band >= 0) == (model.spec.group_of_band() >= 0)).all()
    assert (of_band[:-1][1:] - of_band[:-1][:-1] >= 0).all()


def test_a_part_wider_than_the_group_leaves_it_as_it_is(model: Focus, windows: torch.Tensor) -> None:
    spec = split_top_groups(model, data(windows), count=4, part_nm=500.0)
    assert [(g.lo_nm, g.hi_nm) for g in spec.groups] == [(g.lo_nm, g.hi_nm) for g in model.spec.groups]
