"""Kubeflow shell over `focus_core.steps.ingest`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def ingest(
    campaign_file: str, cube_uri: str, reference_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]
) -> str:
    """Read the raw files of a flight into one calibrated cube.

    Parameters
    ----------
    campaign_file
        Path of the campaign file.
    cube_uri
        The cube, ``cube.zarr``.
    reference_uri
        Expert ranges and masks, ``reference.zarr``.
    settings
        Fields of `focus_core.config.IngestSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import IngestSettings, from_mapping
    from focus_core.steps.ingest import ingest

    found = ingest(campaign_file, cube_uri, reference_uri, settings=from_mapping(IngestSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return cube_uri
