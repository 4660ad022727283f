"""The season pipeline, for a first season: a champion from one labelled campaign, then every flight explained with it.

The flights are one task that keeps a status of each, not a loop of Kubeflow's: a loop fails whole where one item fails,
its exit handler does not run on a cluster (kubeflow/pipelines issue 12390), and each item costs a dozen pods.
"""

from typing import Any

from kfp import dsl

from components.notify.component import notify
from components.season.component import season as explain_season
from pipelines.placement import Placement
from pipelines.training import train_tasks


def season(placement: Placement) -> Any:
    """Return the pipeline with its tasks in their places."""

    @dsl.pipeline(name="focus-season", description="Train on one campaign, then explain every flight of a list.")
    def focus_season(
        flights_file: str,
        manifest_uri: str,
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
        settings_of_season: dict = {},  # noqa: B006
    ) -> None:
        """Train, then explain the season; whatever happens, tell of it at the end."""
        told = placement.place("notify", notify(subject=flights_file, folders=folders, settings=placement.told))
        with dsl.ExitHandler(told, name="explain a season"):
            promoted = train_tasks(
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
            explained = explain_season(
                flights_file=flights_file, manifest_uri=manifest_uri, settings=settings_of_season
            ).after(promoted)
            placement.place("season", explained)

    return focus_season
