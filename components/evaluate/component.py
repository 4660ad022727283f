"""Kubeflow shell over `focus_core.steps.evaluate`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def evaluate(
    tiles_uri: str,
    model_uri: str,
    reference_uri: str,
    evaluation_uri: str,
    settings: dict,
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Measure a model on gate and test plots.

    Parameters
    ----------
    model_uri
        Model folder, or ``models:/<name>@champion``.
    tiles_uri, reference_uri
        The windows of the plots; expert ranges and masks.
    evaluation_uri
        Folder of the figures on held-out plots.
    settings
        Fields of `focus_core.config.EvaluateSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import EvaluateSettings, from_mapping
    from focus_core.steps.evaluate import evaluate

    chosen = from_mapping(EvaluateSettings, settings)
    found = evaluate(tiles_uri, model_uri, reference_uri, evaluation_uri, settings=chosen)
    for name, value in found.items():
        metrics.log_metric(name, value)
    return evaluation_uri
