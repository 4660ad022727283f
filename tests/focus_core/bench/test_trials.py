import numpy as np
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from focus_core.bench.trials import Trial
from focus_core.training import Labelled
from focus_core.training.windows import plot_labels


@given(plots=st.lists(st.integers(1, 9), min_size=2, max_size=4), seed=st.integers(0, 999))
def test_dealt_out_labels_say_nothing_of_the_class(plots: list[int], seed: int) -> None:
    label = np.repeat(np.arange(len(plots)), plots)
    plot = torch.arange(len(label)).repeat_interleave(2)  # two windows each
    windows = Labelled(
        torch.zeros(len(plot), 1, 1, 1), torch.from_numpy(label).repeat_interleave(2), plot, torch.ones(len(plot))
    )
    trial = Trial("", xr.Dataset(), windows, windows, xr.Dataset(), xr.Dataset())
    dealt = trial.shuffled(seed=seed)
    for part in (dealt.train, dealt.validation):
        found = plot_labels(part)
        assert torch.equal(found[plot], part.label)  # windows of a plot share a label
        for cls in range(len(plots)):
            counts = torch.bincount(found[torch.from_numpy(label == cls)], minlength=len(plots))
            assert counts.max() - counts.min() <= 1
