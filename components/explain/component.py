"""Kubeflow shell over `focus_core.steps.explain`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def explain(
    tiles_uri: str, model_uri: str, explanation_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]
) -> str:
    """Compute evidence, importance and saliency of every tile.

    Parameters
    ----------
    tiles_uri
        The windows of the plots, ``tiles.zarr``.
    model_uri
        Model folder, or ``models:/<name>@champion``.
    explanation_uri
        What the model says of every window, ``explanation.zarr``.
    settings
        Fields of `focus_core.config.ExplainSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import ExplainSettings, from_mapping
    from focus_core.steps.explain import explain

    found = explain(tiles_uri, model_uri, explanation_uri, settings=from_mapping(ExplainSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return explanation_uri
