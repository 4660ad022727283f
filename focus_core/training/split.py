"""From coarse to fine: cut the wavelength groups that speak for the classes, and no others, into narrower ones.

A pass costs one image per group. Narrow groups everywhere resolve what nobody asks about; groups cut only where a first
training found evidence give the same resolution there for a few images more.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from focus_core.model import Focus, GroupRange, ModelSpec
from focus_core.training.windows import Labelled, plot_labels, plot_means

_BATCH_TILES = 32


def split_top_groups(model: Focus, validation: Labelled, *, count: int, part_nm: float) -> ModelSpec:
    """Return the model's description with the strongest groups of each class cut into parts.

    Parameters
    ----------
    model
        Trained.
    validation
        Windows of validation plots; the strongest groups of a class are those of greatest mean importance over its own
        plots. The reference class has none.
    count
        Groups to cut for each class.
    part_nm
        Width of a part, nm, counted from the group's lower edge; the last may be narrower. A part without a good
        band is left out.
    """
    spec = model.spec
    top = _strongest(model, validation, count)
    groups = [
        part
        for index, group in enumerate(spec.groups)
        for part in (_parts(group, part_nm, spec) if index in top else [group])
    ]
    return spec.model_copy(update={"groups": tuple(groups)})


def _strongest(model: Focus, data: Labelled, count: int) -> set[int]:
    windows = torch.cat([model.explain(part).importance for part in data.reflectance.split(_BATCH_TILES)])
    importance, labels = plot_means(windows, data), plot_labels(data)
    found: set[int] = set()
    for index, name in enumerate(model.spec.classes):
        if name != model.spec.reference_class and (labels == index).any():
            curve = importance[labels == index, index].mean(dim=0)
            found |= set(curve.topk(min(count, len(curve))).indices.tolist())
    return found


def _parts(group: GroupRange, part_nm: float, spec: ModelSpec) -> list[GroupRange]:
    wavelength = np.asarray(spec.wavelength_nm)[np.asarray(spec.good_band)]
    edges = [*np.arange(group.lo_nm, group.hi_nm, part_nm).tolist(), group.hi_nm]
    return [
        GroupRange(name=f"{group.name}_{lo:g}", lo_nm=lo, hi_nm=hi)
        for lo, hi in itertools.pairwise(edges)
        if ((wavelength >= lo) & (wavelength < hi)).any()
    ]
