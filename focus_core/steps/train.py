"""The step ``train``: labelled tiles and a frozen backbone to a registered FOCUS model."""

from __future__ import annotations

import logging
from pathlib import Path

import xarray as xr

from focus_core import tracking
from focus_core.batches import band_scale, groups_of
from focus_core.config import TrainSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, SettingsError
from focus_core.evaluation import training_plots
from focus_core.model import (
    BACKBONE_WEIGHTS,
    BackboneReference,
    Focus,
    GroupRange,
    ModelSpec,
    load_backbone,
    read_backbone,
    save_model,
    sha256_of,
)
from focus_core.model.blocks import Vit
from focus_core.steps._status import recorded
from focus_core.training import Blocks, FitSummary, Labelled, best_blocks, fit, labelled_windows, split_top_groups

logger = logging.getLogger(__name__)


@recorded("model_uri")
def train(tiles_uri: str, backbone_uri: str, model_uri: str, *, settings: TrainSettings) -> Metrics:
    """Train prompts, sink and read-out, log the run and register the model.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr`` with labelled training and validation tiles.
    backbone_uri
        A backbone folder, or ``models:/focus-backbone/<version>``; its tensors are not changed.
    model_uri
        Where to write the model folder: ``focus.json`` and ``focus.safetensors``.
    settings
        Training settings.

    Returns
    -------
    Metrics
        Losses, epochs, temperature, what validation plots chose, parameter count and share, and the registered
        ``version``.

    Raises
    ------
    MissingInputError, RegistryError
        If there is no such backbone.
    CampaignError
        If a class has no training plot, or there is no validation plot.
    SettingsError
        If the trained parameters would be more than ``max_parameter_share`` of the backbone's.
    """
    backbone = tracking.fetch_backbone(backbone_uri)
    inputs = {tiles_uri: digest(tiles_uri), backbone_uri: sha256_of(backbone / BACKBONE_WEIGHTS)}

    def write(folder: Path) -> Metrics:
        tiles = open_store(tiles_uri, TILES)
        parameters = {"tiles": tiles_uri, "backbone": backbone_uri, **settings.model_dump(mode="json")}
        with tracking.logged_run(
            settings.model_name, parameters=parameters, tags={"campaign": tiles.attrs["campaign"]}, inputs=inputs
        ) as run:
            reference = BackboneReference(
                uri=tracking.register_backbone(backbone),
                sha256=sha256_of(backbone / BACKBONE_WEIGHTS),
                kind=read_backbone(backbone)["kind"],
            )
            model, metrics = _best(tiles, backbone, reference, settings, run.run_id)
            save_model(model, folder)
            version = tracking.log_model(folder, run_id=run.run_id, name=settings.model_name)
            run.log_metrics(metrics)
        return {**metrics, "version": float(version)}

    return publish(model_uri, step="train", inputs=inputs, settings=settings, write=write)


def new_model(
    tiles: xr.Dataset,
    vit: Vit,
    reference: BackboneReference,
    settings: TrainSettings,
    run_id: str | None,
    *,
    read_blocks: Blocks,
) -> Focus:
    """Return an untrained model for a campaign's bands, groups and classes on a frozen backbone.

    Parameters
    ----------
    tiles
        An open ``tiles.zarr``.
    vit
        The backbone; models may share it.
    reference
        How the model names it.
    settings
        Of the model's shape.
    run_id
        Tracking run that trains it.
    read_blocks
        Blocks that its rows read.

    Raises
    ------
    SettingsError
        If the trained parameters would be more than ``max_parameter_share`` of the backbone's.
    """
    attrs = tiles.attrs
    spec = ModelSpec(
        wavelength_nm=tuple(tiles["wavelength"].to_numpy().tolist()),
        good_band=tuple(tiles["good_band"].to_numpy().tolist()),
        groups=tuple(GroupRange(name=g.name, lo_nm=g.lo_nm, hi_nm=g.hi_nm) for g in groups_of(tiles).groups),
        classes=tuple(attrs["classes"]),
        reference_class=attrs["reference_class"] or None,
        quantity=attrs["quantity"],
        window_px=tiles.sizes["ty"],
        input_px=int(attrs["input_px"]),
        read_blocks=read_blocks,
        rank=settings.rank,
        prompt_seeds=settings.prompt_seeds,
        group_dropout=settings.group_dropout[0],
        sink=settings.sink,
        backbone=reference,
        training_campaign=attrs["campaign"],
        simulated=bool(attrs["simulated"]),
        run_id=run_id,
    )
    model = Focus(spec, vit, band_scale(tiles))
    _check_share(model, settings)
    return model


def _check_share(model: Focus, settings: TrainSettings) -> None:
    trained = sum(parameter.numel() for parameter in model.parameters())
    frozen = sum(parameter.numel() for parameter in model.vit.parameters())
    logger.info("%d trained parameters, %.2f %% of the backbone's %d", trained, 100 * trained / frozen, frozen)
    if trained / frozen > settings.max_parameter_share:
        raise SettingsError(
            f"{trained} trained parameters are {trained / frozen:.3f} of the backbone's {frozen}, the cap "
            f"max_parameter_share is {settings.max_parameter_share}; use fewer groups, read_blocks or prompt_seeds, "
            "or a lower rank"
        )


def _best(
    tiles: xr.Dataset, backbone: Path, reference: BackboneReference, settings: TrainSettings, run_id: str
) -> tuple[Focus, Metrics]:
    """Choose the blocks to read, train a model on them, and split its groups where that is wanted."""
    training, validation = labelled_windows(tiles, "train"), labelled_windows(tiles, "validation")
    absent = sorted(set(range(len(tiles.attrs["classes"]))) - set(training.label.tolist()))
    if absent:
        names = [tiles.attrs["classes"][index] for index in absent]
        raise CampaignError(f"campaign {tiles.attrs['campaign']}: no training tile of {names}; change the folds")

    vit = load_backbone(backbone)

    def build(blocks: Blocks, settings: TrainSettings) -> Focus:
        return new_model(tiles, vit, reference, settings, run_id, read_blocks=blocks)

    model = build(best_blocks(build, len(vit.blocks), training, validation, settings), settings)
    summary = fit(model, training, validation, settings)
    if settings.split_groups:
        model, summary = _split(model, training, validation, settings)
    model.spec = model.spec.model_copy(update={"training_plots": training_plots(model, tiles)})
    return model, {
        "train_loss": summary.train_loss,
        "validation_loss": summary.validation_loss,
        "epochs": summary.epochs,
        "temperature": summary.temperature,
        "group_dropout": model.spec.group_dropout,
        "read_blocks": float(len(model.spec.read_blocks)),
        "read_depth": model.read_depth,
        "parameters": float(summary.parameters),
        "parameter_share": summary.parameters / summary.backbone_parameters,
    }


def _split(
    coarse: Focus, training: Labelled, validation: Labelled, settings: TrainSettings
) -> tuple[Focus, FitSummary]:
    """Train anew with the groups that matter cut into parts."""
    spec = split_top_groups(coarse, validation, count=settings.split_groups, part_nm=settings.split_nm)
    logger.info("%d groups become %d: %s", len(coarse.spec.groups), len(spec.groups), [g.name for g in spec.groups])
    model = Focus(spec, coarse.vit, coarse.front_end.scale)
    _check_share(model, settings)
    return model, fit(model, training, validation, settings)
