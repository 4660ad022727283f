"""Simulated trials for benches, in memory: labelled windows of two flights, their references, and backbones.

Knows the steps and the simulator; scores nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from focus_core.batches import of_fold, read_tiles
from focus_core.config import (
    IngestSettings,
    PretrainSettings,
    SimulateSettings,
    TileSettings,
    TrainSettings,
    parse_groups,
)
from focus_core.cubes.schema import REFERENCE, TILES
from focus_core.cubes.store import open_store
from focus_core.explanation import explain_tiles
from focus_core.model import BACKBONE_WEIGHTS, BackboneReference, Focus, load_backbone, read_backbone, sha256_of
from focus_core.model.blocks import Vit
from focus_core.simulation import simulate
from focus_core.steps.ingest import ingest
from focus_core.steps.pretrain import pretrain
from focus_core.steps.tile import tile
from focus_core.steps.train import new_model
from focus_core.training import Blocks, Labelled, best_blocks, fit, labelled_windows, readable_blocks
from focus_core.training.windows import plot_labels


@dataclasses.dataclass(frozen=True)
class Trial:
    """Two flights over one simulated field: prompts are trained on the first, figures are of the second."""

    tiles_uri: str
    """Store of the first flight's windows."""
    tiles: xr.Dataset
    """The store, open; its wavelength groups may be others."""
    train: Labelled
    """Its labelled windows of training plots."""
    validation: Labelled
    """Its labelled windows of validation plots."""
    test: xr.Dataset
    """Labelled windows of the second flight's test plots, which in the first were not trained on."""
    reference: xr.Dataset
    """Reference bands and masks of the second flight."""

    def grouped(self, groups: str | Mapping[str, tuple[float, float]]) -> Trial:
        """Return the same windows seen through other wavelength groups."""
        ranges = {group.name: (group.lo_nm, group.hi_nm) for group in parse_groups(groups).groups}
        tiles, test = (each.assign_attrs(groups=ranges) for each in (self.tiles, self.test))
        return dataclasses.replace(self, tiles=tiles, test=test)

    def shuffled(self, *, seed: int) -> Trial:
        """Return the same windows with the labels of training plots, and of validation plots, dealt out anew.

        The plots of each class get all labels equally often. Of labels drawn freely, a class may get its own for most
        of its plots, and is then learned: one field's accuracy would lie anywhere. Validation plots choose epochs; with
        true labels they would choose what happens to be right.
        """
        generator = torch.Generator().manual_seed(seed)
        return dataclasses.replace(
            self, train=_dealt_out(self.train, generator), validation=_dealt_out(self.validation, generator)
        )

    def one_window_a_plot(self) -> Int[np.ndarray, " plot"]:
        """Return for each test plot the position of its window of greatest coverage."""
        order = np.argsort(-self.test["coverage"].to_numpy(), kind="stable")
        names = self.test["plot"].to_numpy().astype(object).astype(str)[order]
        return np.sort(order[np.unique(names, return_index=True)[1]])

    def pixels(self, index: Int[np.ndarray, " tile"]) -> Float[Tensor, "tile band ty tx"]:
        """Read some windows of ``test``, NaN outside their plots."""
        return read_tiles(self.test, index)


def _dealt_out(data: Labelled, generator: torch.Generator) -> Labelled:
    labels = plot_labels(data)
    classes, dealt = int(labels.max()) + 1, labels.clone()
    for cls in range(classes):
        plots = torch.nonzero(labels == cls)[:, 0]
        hand = torch.arange(len(plots)) + torch.randint(classes, (), generator=generator)
        dealt[plots[torch.randperm(len(plots), generator=generator)]] = hand % classes
    return data._replace(label=dealt[data.plot])


def simulated_trial(folder: Path, settings: SimulateSettings) -> Trial:
    """Simulate a trial and take it through ``ingest`` and ``tile``.

    Parameters
    ----------
    folder
        Where the stores are written.
    settings
        Of the simulation.
    """
    simulate(str(folder / "field"), settings=settings)
    stores = []
    for flight in ("flight-1", "flight-2"):
        campaign = str(folder / "field" / flight / "campaign.yaml")
        cube, reference, tiles = (str(folder / flight / name) for name in ("cube.zarr", "reference.zarr", "tiles.zarr"))
        ingest(campaign, cube, reference, settings=IngestSettings())
        tile(campaign, cube, tiles, settings=TileSettings())
        stores.append((tiles, open_store(tiles, TILES), open_store(reference, REFERENCE)))
    (uri, first, _), (_, second, truth) = stores
    test = second.isel(tile=of_fold(second, "test")).load()
    return Trial(
        uri, first, labelled_windows(first, "train"), labelled_windows(first, "validation"), test, truth.load()
    )


def backbone_of(trial: Trial, folder: Path, method: Literal["masked", "random"], *, seed: int) -> Path:
    """Pretrain a backbone on the first flight, and return its folder."""
    settings = PretrainSettings(method=method, seed=seed)
    pretrain(trial.tiles_uri, str(folder), settings=settings)
    return folder


def untrained(trial: Trial, backbone: Path, settings: TrainSettings) -> Focus:
    """Build a model for a trial's bands and groups on a backbone; it reads the blocks that are first to be tried."""
    vit = load_backbone(backbone)
    return _of_blocks(trial, backbone, vit, readable_blocks(len(vit.blocks), settings)[0], settings)


def trained(trial: Trial, backbone: Path, settings: TrainSettings) -> Focus:
    """Build a model and train it on the first flight, as the step ``train`` does."""
    vit = load_backbone(backbone)
    build = functools.partial(_of_blocks, trial, backbone, vit)
    model = build(best_blocks(build, len(vit.blocks), trial.train, trial.validation, settings), settings)
    fit(model, trial.train, trial.validation, settings)
    return model


def as_chosen(model: Focus, settings: TrainSettings) -> TrainSettings:
    """Return settings in which what validation plots chose for a trained model is no choice any more."""
    update = {
        "read_blocks": (len(model.spec.read_blocks),),
        "read_depth": (model.read_depth,),
        "group_dropout": (model.spec.group_dropout,),
    }
    return settings.model_copy(update=update)


def _of_blocks(trial: Trial, backbone: Path, vit: Vit, blocks: Blocks, settings: TrainSettings) -> Focus:
    kind = read_backbone(backbone)["kind"]
    reference = BackboneReference(uri=str(backbone), sha256=sha256_of(backbone / BACKBONE_WEIGHTS), kind=kind)
    return new_model(trial.tiles, vit, reference, settings, None, read_blocks=blocks)


def explained(trial: Trial, model: Focus, index: Int[np.ndarray, " tile"] | None = None) -> xr.Dataset:
    """Explain windows of the test plots, by default all."""
    every = np.arange(trial.test.sizes["tile"])
    return explain_tiles(model, trial.test, every if index is None else index)
