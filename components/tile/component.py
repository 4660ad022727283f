"""Kubeflow shell over `focus_core.steps.tile`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def tile(campaign_file: str, cube_uri: str, tiles_uri: str, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Cut the plots of a cube into windows, each in the fold of its trial block.

    Parameters
    ----------
    campaign_file
        Path of the campaign file.
    cube_uri
        The cube, ``cube.zarr``.
    tiles_uri
        The windows of the plots, ``tiles.zarr``.
    settings
        Fields of `focus_core.config.TileSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import TileSettings, from_mapping
    from focus_core.steps.tile import tile

    found = tile(campaign_file, cube_uri, tiles_uri, settings=from_mapping(TileSettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return tiles_uri
