"""Kubeflow shell over `focus_core.steps.train`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def train(tiles_uri: str, backbone_uri: str, model_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Train prompts, sink and read-out on the frozen backbone and register the model.

    Parameters
    ----------
    tiles_uri
        The windows of the plots, ``tiles.zarr``.
    backbone_uri
        Folder of the frozen backbone.
    model_uri
        Where the model folder is written; it is registered too.
    settings
        Fields of `focus_core.config.TrainSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import TrainSettings, from_mapping
    from focus_core.steps.train import train

    found = train(tiles_uri, backbone_uri, model_uri, settings=from_mapping(TrainSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return model_uri
