"""The season pipeline, for a first season: a champion from one labelled campaign, then every flight explained with it.

Kubeflow's loop is over chunks of the list, not over flights: a loop fails whole where one item fails, its exit handler
does not run on a cluster then (kubeflow/pipelines issue 12390), and each item costs pods. So the task of a chunk keeps
a status of each of its flights and ends well whatever became of them; the last task tells.
"""

from typing import Any

from kfp import dsl

from components.flights.component import flights
from components.gather.component import gather
from components.notify.component import notify
from components.split.component import split
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
            season_tasks(
                placement, flights_file=flights_file, manifest_uri=manifest_uri, settings=settings_of_season
            ).after(promoted)

    return focus_season


def season_tasks(placement: Placement, *, flights_file: Any, manifest_uri: Any, settings: Any) -> dsl.PipelineTask:
    """Add the tasks from a list of flights to the status of each to the pipeline being built; returns the first."""
    cut = split(flights_file=flights_file, manifest_uri=manifest_uri, settings=settings)
    with dsl.ParallelFor(cut.outputs["Output"], name="chunks", parallelism=placement.chunks_at_once) as part:
        explained = flights(part_uri=part, manifest_uri=manifest_uri, settings=settings)
    told = gather(
        parts=dsl.Collected(explained.outputs["Output"]), manifest_uri=manifest_uri, settings=settings
    ).ignore_upstream_failure()
    for task in (cut, explained, told):
        placement.place(task.name, task)
    return cut
