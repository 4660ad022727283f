"""FOCUS beside its rivals, as one table. Knows stores and scores; the rivals' own code is `focus_core.rivals`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from focus_core.batches import of_fold, read_tiles
from focus_core.config.settings import Fold
from focus_core.cubes.schema import REFERENCE, TILES
from focus_core.cubes.store import open_store
from focus_core.errors import SettingsError, StoreError
from focus_core.evaluation import of_plots, score_bands, score_space
from focus_core.evaluation.rivals import fitted_rivals, head_accuracy, score_plot_means, score_rival
from focus_core.explanation import explain_tiles
from focus_core.metrics import balanced_accuracy
from focus_core.model import Focus
from focus_core.rivals import FOREST_READ_OUT, PLS_VIP_READ_OUT
from focus_core.training import labelled_windows

_OWN_READ_OUT = "importance: what the group adds to the class's contrastive logit; signed, exact over groups"
_SCORES = ("band_iou.", "spatial_auc.")

Row = dict[str, float | str]


def rival_table(
    model: Focus,
    training_tiles: str | Path,
    tiles: str | Path,
    reference: str | Path,
    *,
    fold: Fold,
    most_windows: int,
    seed: int,
) -> pd.DataFrame:
    """Score FOCUS and its rivals; arguments as of `LoadedModel.compare_rivals`."""
    if most_windows < 1:
        raise SettingsError(f"most_windows is {most_windows}; explain at least one window")
    trained_on, held_out = open_store(training_tiles, TILES), open_store(tiles, TILES)
    truth = open_store(reference, REFERENCE).load()
    if truth.attrs["campaign"] != held_out.attrs["campaign"]:
        raise StoreError(
            f"'{reference}' belongs to the campaign '{truth.attrs['campaign']}', '{tiles}' to "
            f"'{held_out.attrs['campaign']}'; give the stores of one campaign"
        )
    index = of_fold(held_out, fold)
    if not index.size:
        raise StoreError(f"'{tiles}' holds no labelled window in the fold '{fold}'; choose another fold")
    every = explain_tiles(model, held_out, index)
    few = _one_a_plot(every, most_windows)
    own, pixels = every.isel(tile=few), read_tiles(held_out, index[few])
    training, validation = (labelled_windows(trained_on, part) for part in ("train", "validation"))
    head, rivals = fitted_rivals(model, training, validation, seed=seed)
    accuracy = head_accuracy(head, model, held_out.isel(tile=index))
    rows: dict[str, Row] = {"focus": _own_row(model, every, own, truth)}
    for rival in rivals:
        scores = score_rival(rival, model, pixels, own, truth)
        rows[rival.name] = {"balanced_accuracy": accuracy, **_kept(scores), "read_out": rival.read_out}
    means = score_plot_means(model, training, truth, seed=seed)
    for name, words in (("pls_vip", PLS_VIP_READ_OUT), ("forest", FOREST_READ_OUT)):
        rows[name] = {**_kept(means[name]), "read_out": words}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
    return table[[*(column for column in table.columns if column != "read_out"), "read_out"]]


def _own_row(model: Focus, every: xr.Dataset, own: xr.Dataset, truth: xr.Dataset) -> Row:
    plots = of_plots(every)
    scores = score_bands(model.spec, of_plots(own), truth, seed=0) | score_space(model.spec, own, truth)
    return {
        "balanced_accuracy": balanced_accuracy(plots.label, plots.logit.argmax(axis=1)),
        "time_over_focus": 1.0,
        **_kept(scores),
        "read_out": _OWN_READ_OUT,
    }


def _kept(scores: dict[str, float]) -> Row:
    return {name: value for name, value in scores.items() if name.startswith((*_SCORES, "time_over_focus"))}


def _one_a_plot(explanation: xr.Dataset, most: int) -> npt.NDArray[np.int64]:
    """Return the position of each plot's window of greatest coverage, of the classes in turn until there are enough."""
    order = np.argsort(-explanation["coverage"].to_numpy(), kind="stable")
    names = explanation["plot"].to_numpy().astype(object).astype(str)[order]
    windows = np.sort(order[np.unique(names, return_index=True)[1]])
    label = explanation["label"].to_numpy()[windows]
    turn = np.array([(label[:place] == own).sum() for place, own in enumerate(label)])
    return np.sort(windows[np.argsort(turn, kind="stable")[:most]])
