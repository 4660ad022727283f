"""Kubeflow shell over `focus_core.steps.pretrain`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def pretrain(tiles_uri: str, backbone_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Train a backbone on unlabelled tiles; it is frozen from then on.

    Parameters
    ----------
    tiles_uri
        The windows of the plots, ``tiles.zarr``.
    backbone_uri
        Folder of the frozen backbone.
    settings
        Fields of `focus_core.config.PretrainSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import PretrainSettings, from_mapping
    from focus_core.steps.pretrain import pretrain

    found = pretrain(tiles_uri, backbone_uri, settings=from_mapping(PretrainSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return backbone_uri
