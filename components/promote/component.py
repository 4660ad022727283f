"""Kubeflow shell over `focus_core.steps.promote`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def promote(model_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Make a model the champion if it passes the thresholds on the gate plots.

    Parameters
    ----------
    model_uri
        Model folder, or ``models:/<name>/<version>``.
    settings
        Fields of `focus_core.config.PromoteSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import PromoteSettings, from_mapping
    from focus_core.steps.promote import promote

    found = promote(model_uri, settings=from_mapping(PromoteSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return model_uri
