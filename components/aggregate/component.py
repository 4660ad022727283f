"""Kubeflow shell over `focus_core.steps.aggregate`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def aggregate(
    campaign_file: str,
    cube_uri: str,
    explanation_uri: str,
    importance_uri: str,
    settings: dict,
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Average tiles and pixels to plots and merge the campaign into the importance store.

    Parameters
    ----------
    campaign_file
        Path of the campaign file.
    cube_uri, explanation_uri
        The calibrated cube, and what the model says of every window.
    importance_uri
        Curves of every campaign and plot, ``importance.zarr``.
    settings
        Fields of `focus_core.config.AggregateSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import AggregateSettings, from_mapping
    from focus_core.steps.aggregate import aggregate

    uris = (campaign_file, cube_uri, explanation_uri, importance_uri)
    found = aggregate(*uris, settings=from_mapping(AggregateSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return importance_uri
