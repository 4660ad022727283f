"""The campaign pipeline: one flight in, its curves in the shared store and its report out.

Knows the order of tasks; every value is a parameter.
"""

from typing import Any

from kfp import dsl

from components.aggregate.component import aggregate
from components.evaluate.component import evaluate
from components.explain.component import explain
from components.ingest.component import ingest
from components.notify.component import notify
from components.report.component import report
from components.tile.component import tile
from pipelines.placement import Placement


def campaign(placement: Placement) -> Any:
    """Return the pipeline with its tasks in their places."""

    @dsl.pipeline(name="focus-campaign", description="Explain one campaign with the champion and write its report.")
    def focus_campaign(
        campaign_file: str,
        cube_uri: str,
        reference_uri: str,
        tiles_uri: str,
        explanation_uri: str,
        evaluation_uri: str,
        importance_uri: str,
        report_path: str,
        folders: list,
        model_uri: str = "models:/focus@champion",
        settings_of_ingest: dict = {},  # noqa: B006 - Kubeflow reads the default, nobody mutates it
        settings_of_tile: dict = {},  # noqa: B006
        settings_of_explain: dict = {},  # noqa: B006
        settings_of_evaluate: dict = {},  # noqa: B006
        settings_of_aggregate: dict = {},  # noqa: B006
        settings_of_report: dict = {},  # noqa: B006
    ) -> None:
        """Explain a campaign; whatever happens, tell of it at the end.

        ``importance_uri`` is shared by all campaigns: one that is being merged makes the next wait.
        """
        told = placement.place("notify", notify(subject=campaign_file, folders=folders, settings=placement.told))
        with dsl.ExitHandler(told, name="explain a campaign"):
            ingested = ingest(
                campaign_file=campaign_file, cube_uri=cube_uri, reference_uri=reference_uri, settings=settings_of_ingest
            )
            tiled = tile(
                campaign_file=campaign_file,
                cube_uri=ingested.outputs["Output"],
                tiles_uri=tiles_uri,
                settings=settings_of_tile,
            )
            explained = explain(
                tiles_uri=tiled.outputs["Output"],
                model_uri=model_uri,
                explanation_uri=explanation_uri,
                settings=settings_of_explain,
            )
            evaluated = evaluate(
                tiles_uri=tiled.outputs["Output"],
                model_uri=model_uri,
                reference_uri=reference_uri,
                evaluation_uri=evaluation_uri,
                settings=settings_of_evaluate,
            )
            aggregated = aggregate(
                campaign_file=campaign_file,
                cube_uri=ingested.outputs["Output"],
                explanation_uri=explained.outputs["Output"],
                importance_uri=importance_uri,
                settings=settings_of_aggregate,
            )
            reported = report(
                campaign_file=campaign_file,
                cube_uri=ingested.outputs["Output"],
                reference_uri=reference_uri,
                importance_uri=aggregated.outputs["Output"],
                evaluation_uri=evaluated.outputs["Output"],
                report_path=report_path,
                settings=settings_of_report,
            )
            for task in (ingested, tiled, explained, evaluated, aggregated, reported):
                placement.place(task.name, task)

    return focus_campaign
