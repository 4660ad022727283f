"""Kubeflow shell over `focus_core.steps.flights`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def flights(part_uri: str, manifest_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Explain the flights of one chunk with the champion; a bad flight costs that flight alone.

    Parameters
    ----------
    part_uri
        Status of the chunk's flights.
    manifest_uri
        Status of each flight, ``season.json``.
    settings
        Fields of `focus_core.config.SeasonSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import SeasonSettings, from_mapping
    from focus_core.steps.flights import flights

    found = flights(part_uri, manifest_uri, settings=from_mapping(SeasonSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return part_uri
