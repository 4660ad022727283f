"""Kubeflow shell over `focus_core.steps.gather`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def gather(manifest_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics], parts: list = []) -> str:  # noqa: B006
    """Tell what became of each flight of a season.

    Parameters
    ----------
    manifest_uri
        Status of each flight, ``season.json``.
    settings
        Fields of `focus_core.config.SeasonSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    parts
        What is waited for; none where a chunk's task failed for good.
    """
    from focus_core.config import SeasonSettings, from_mapping
    from focus_core.steps.gather import gather

    found = gather(manifest_uri, settings=from_mapping(SeasonSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return manifest_uri
