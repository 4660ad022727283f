"""The training pipeline: one labelled campaign in, a champion out.

Knows the order of tasks; every value is a parameter.
"""

from typing import Any

from kfp import dsl

from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.notify.component import notify
from components.pretrain.component import pretrain
from components.promote.component import promote
from components.tile.component import tile
from components.train.component import train
from pipelines.placement import Placement


def training(placement: Placement) -> Any:
    """Return the pipeline with its tasks in their places."""

    @dsl.pipeline(name="focus-training", description="Train, evaluate and promote a model on one labelled campaign.")
    def focus_training(
        campaign_file: str,
        cube_uri: str,
        reference_uri: str,
        tiles_uri: str,
        backbone_uri: str,
        model_uri: str,
        evaluation_uri: str,
        folders: list,
        settings_of_ingest: dict = {},  # noqa: B006 - Kubeflow reads the default, nobody mutates it
        settings_of_tile: dict = {},  # noqa: B006
        settings_of_pretrain: dict = {},  # noqa: B006
        settings_of_train: dict = {},  # noqa: B006
        settings_of_evaluate: dict = {},  # noqa: B006
        settings_of_promote: dict = {},  # noqa: B006
    ) -> None:
        """Train, evaluate and promote a model; whatever happens, tell of it at the end."""
        told = placement.place("notify", notify(subject=campaign_file, folders=folders, settings=placement.told))
        with dsl.ExitHandler(told, name="train on a campaign"):
            train_tasks(
                placement,
                campaign_file=campaign_file,
                cube_uri=cube_uri,
                reference_uri=reference_uri,
                tiles_uri=tiles_uri,
                backbone_uri=backbone_uri,
                model_uri=model_uri,
                evaluation_uri=evaluation_uri,
                ingest_settings=settings_of_ingest,
                tile_settings=settings_of_tile,
                pretrain_settings=settings_of_pretrain,
                train_settings=settings_of_train,
                evaluate_settings=settings_of_evaluate,
                promote_settings=settings_of_promote,
            )

    return focus_training


def train_tasks(
    placement: Placement,
    *,
    campaign_file: Any,
    cube_uri: Any,
    reference_uri: Any,
    tiles_uri: Any,
    backbone_uri: Any,
    model_uri: Any,
    evaluation_uri: Any,
    ingest_settings: Any,
    tile_settings: Any,
    pretrain_settings: Any,
    train_settings: Any,
    evaluate_settings: Any,
    promote_settings: Any,
) -> dsl.PipelineTask:
    """Add the tasks from a campaign file to a champion to the pipeline being built; returns the last."""
    ingested = ingest(
        campaign_file=campaign_file, cube_uri=cube_uri, reference_uri=reference_uri, settings=ingest_settings
    )
    tiled = tile(
        campaign_file=campaign_file, cube_uri=ingested.outputs["Output"], tiles_uri=tiles_uri, settings=tile_settings
    )
    pretrained = pretrain(tiles_uri=tiled.outputs["Output"], backbone_uri=backbone_uri, settings=pretrain_settings)
    trained = train(
        tiles_uri=tiled.outputs["Output"],
        backbone_uri=pretrained.outputs["Output"],
        model_uri=model_uri,
        settings=train_settings,
    )
    evaluated = evaluate(
        tiles_uri=tiled.outputs["Output"],
        model_uri=trained.outputs["Output"],
        reference_uri=reference_uri,
        evaluation_uri=evaluation_uri,
        settings=evaluate_settings,
    )
    promoted = promote(model_uri=trained.outputs["Output"], settings=promote_settings).after(evaluated)
    for task in (ingested, tiled, pretrained, trained, evaluated, promoted):
        placement.place(task.name, task)
    return promoted
