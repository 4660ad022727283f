"""The plots that a model was trained on, as the model carries them, and those of a flight that it explains.

Both are measured in the same way, on the windows of ``tiles.zarr``, so that they can be compared.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from focus_core.batches import group_means, of_fold, read_readable_tiles, stream_tiles
from focus_core.evaluation.plots import of_plots
from focus_core.explanation import explain_tiles
from focus_core.metrics import Plots, drift
from focus_core.model import Focus, ModelSpec, TrainingPlots

_BATCH_TILES = 16


def training_plots(model: Focus, tiles: xr.Dataset) -> TrainingPlots:
    """Return the labelled training and validation plots of a campaign; the sink's share is that on validation plots.

    Parameters
    ----------
    model
        Trained on these tiles.
    tiles
        An open ``tiles.zarr``.
    """
    validation = of_fold(tiles, "validation")
    index = np.concatenate([of_fold(tiles, "train"), validation])
    seen = tiles.isel(tile=index)
    first = np.unique(_numbers(seen), return_index=True)[1]
    counts = np.bincount(seen["label"].to_numpy()[first], minlength=len(model.spec.classes))
    return TrainingPlots(
        reflectance=tuple(tuple(row) for row in _reflectance(tiles, index, model.spec).round(6).tolist()),
        class_counts=tuple(counts.tolist()),
        sink_share=tuple(_sink_share(explain_tiles(model, tiles, validation), model.spec).round(6).tolist()),
    )


def drift_of_flight(
    spec: ModelSpec,
    tiles: xr.Dataset,
    explanation: xr.Dataset,
    reflectance: Float[np.ndarray, "tile group"] | None = None,
) -> dict[str, float]:
    """Return how far a flight is from what its model was trained on, see `drift`; nothing where that is not known.

    Parameters
    ----------
    spec
        Of the model.
    tiles, explanation
        The flight's open ``tiles.zarr`` and ``explanation.zarr``, tiles that could not be explained included.
    reflectance
        What `group_means` says of the tiles, where somebody has read them; NaN throughout where nobody has. These are
        read here, and left out where they cannot be.
    """
    if spec.training_plots is None:
        return {}
    index = np.flatnonzero(explanation["failure"].to_numpy() == "")
    means = np.full((len(explanation["failure"]), len(spec.groups)), np.nan) if reflectance is None else reflectance
    means = _completed(means, tiles, index, spec)
    seen = index[np.isfinite(means[index]).any(axis=1)]
    explained = explanation.isel(tile=index)
    called = of_plots(explained).logit.argmax(axis=1)
    flight = Plots(
        _of_plots(means[seen], tiles.isel(tile=seen)),
        np.bincount(called, minlength=len(spec.classes)),
        _sink_share(explained, spec),
    )
    return drift(flight, _carried(spec.training_plots))


def drift_of_training(challenger: ModelSpec, champion: ModelSpec) -> dict[str, float]:
    """Return how far a model's training plots are from another's; nothing where they cannot be compared."""
    own, other = challenger.training_plots, champion.training_plots
    if own is None or other is None or (challenger.groups, challenger.classes) != (champion.groups, champion.classes):
        return {}
    return drift(_carried(own), _carried(other))


def _carried(plots: TrainingPlots) -> Plots:
    return Plots(np.array(plots.reflectance), np.array(plots.class_counts), np.array(plots.sink_share))


def _completed(
    means: Float[np.ndarray, "tile group"], tiles: xr.Dataset, index: Int[np.ndarray, " wanted"], spec: ModelSpec
) -> Float[np.ndarray, "tile group"]:
    """Read those of some tiles whose means are not known."""
    unknown, found = index[np.isnan(means[index]).all(axis=1)], means.copy()
    for start in range(0, len(unknown), _BATCH_TILES):
        part = unknown[start : start + _BATCH_TILES]
        found[part] = group_means(read_readable_tiles(tiles, part)[0], spec)
    return found


def _reflectance(
    tiles: xr.Dataset, index: Int[np.ndarray, " tile"], spec: ModelSpec
) -> Float[np.ndarray, "plot group"]:
    """Mean of each plot and group over some tiles, in the order of the plots' names; every window by its coverage."""
    means = [group_means(windows, spec) for _, windows in stream_tiles(tiles, index, _BATCH_TILES)]
    return _of_plots(np.concatenate(means), tiles.isel(tile=index))


def _sink_share(explanation: xr.Dataset, spec: ModelSpec) -> Float[np.ndarray, " plot"]:
    if not spec.sink:
        return np.zeros(0)
    share = explanation["sink_share"].mean(["cls", "group"]).to_numpy().astype(np.float64)
    return _of_plots(share[:, None], explanation)[:, 0]


def _of_plots(values: Float[np.ndarray, "tile column"], tiles: xr.Dataset) -> Float[np.ndarray, "plot column"]:
    plot = _numbers(tiles)
    weight = tiles["coverage"].to_numpy()
    sums = [np.bincount(plot, weight * column) for column in values.T]
    return np.stack(sums, axis=1) / np.bincount(plot, weight)[:, None]


def _numbers(tiles: xr.Dataset) -> Int[np.ndarray, " tile"]:
    """Return the number of each window's plot, in the order of the plots' names."""
    return np.unique(tiles["plot"].to_numpy().astype(object).astype(str), return_inverse=True)[1]
