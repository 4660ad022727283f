"""The training pipeline: one labelled campaign in, a champion out.

Knows the order of tasks; every value is a parameter. Kubeflow's cache is off: it does not see that a file changed,
and a step whose result is there already returns at once by comparing digests.
"""

from kfp import dsl

from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.pretrain.component import pretrain
from components.promote.component import promote
from components.tile.component import tile
from components.train.component import train


@dsl.pipeline(name="focus-training", description="Train, evaluate and promote a model on one labelled campaign.")
def training(
    campaign_file: str,
    cube_uri: str,
    reference_uri: str,
    tiles_uri: str,
    backbone_uri: str,
    model_uri: str,
    evaluation_uri: str,
    settings_of_ingest: dict = {},  # noqa: B006 - Kubeflow reads the default, nobody mutates it
    settings_of_tile: dict = {},  # noqa: B006
    settings_of_pretrain: dict = {},  # noqa: B006
    settings_of_train: dict = {},  # noqa: B006
    settings_of_evaluate: dict = {},  # noqa: B006
    settings_of_promote: dict = {},  # noqa: B006
) -> str:
    """Train, evaluate and promote a model; returns the URI of its folder."""
    ingested = ingest(
        campaign_file=campaign_file, cube_uri=cube_uri, reference_uri=reference_uri, settings=settings_of_ingest
    )
    tiled = tile(
        campaign_file=campaign_file, cube_uri=ingested.outputs["Output"], tiles_uri=tiles_uri, settings=settings_of_tile
    )
    pretrained = pretrain(tiles_uri=tiled.outputs["Output"], backbone_uri=backbone_uri, settings=settings_of_pretrain)
    trained = train(
        tiles_uri=tiled.outputs["Output"],
        backbone_uri=pretrained.outputs["Output"],
        model_uri=model_uri,
        settings=settings_of_train,
    )
    evaluated = evaluate(
        tiles_uri=tiled.outputs["Output"],
        model_uri=trained.outputs["Output"],
        reference_uri=reference_uri,
        evaluation_uri=evaluation_uri,
        settings=settings_of_evaluate,
    )
    promoted = promote(model_uri=trained.outputs["Output"], settings=settings_of_promote).after(evaluated)
    for task in (ingested, tiled, pretrained, trained, evaluated, promoted):
        task.set_caching_options(False)
    return promoted.outputs["Output"]
