"""What the rivals are measured against."""

from collections.abc import Callable

import pytest
import torch

from focus_core.evaluation.rivals import reference_images
from focus_core.model import Focus
from focus_core.training import Labelled

LABEL = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2])


@pytest.mark.parametrize(
    ("reference", "most", "wanted"),
    [
        ("control", 3, [0, 2, 4]),
        ("control", 24, [0, 1, 2, 3, 4, 5]),
        ("disease", 1, [8]),
        (None, 6, [0, 3, 6, 7, 8, 10]),
    ],
)
def test_references_are_spread_over_the_windows_of_a_class(
    small_model: Callable[..., Focus], reference: str | None, most: int, wanted: list[int]
) -> None:
    """A plot's windows are neighbours in the store, so that the first few would be of a few plots."""
    model = small_model(reference_class=reference)
    reflectance = torch.rand(len(LABEL), 12, 12, 12, generator=torch.Generator().manual_seed(4))
    training = Labelled(reflectance, LABEL, torch.arange(len(LABEL)) // 2, torch.full(LABEL.shape, 144.0))
    found = reference_images(model, training, most)
    assert torch.equal(found, model.front_end(reflectance[wanted]).images)
