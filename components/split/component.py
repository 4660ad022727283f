"""Kubeflow shell over `focus_core.steps.split`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def split(flights_file: str, manifest_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> list:
    """Cut a list of flights into chunks; the output names the part of each.

    Parameters
    ----------
    flights_file
        Text file with the path of a campaign file on each line.
    manifest_uri
        Status of each flight, ``season.json``.
    settings
        Fields of `focus_core.config.SeasonSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import SeasonSettings, from_mapping
    from focus_core.steps.split import part_uris, split

    found = split(flights_file, manifest_uri, settings=from_mapping(SeasonSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return part_uris(manifest_uri)
