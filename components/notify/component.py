"""Kubeflow shell over `focus_core.steps.notify`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def notify(subject: str, folders: list, settings: dict, metrics: dsl.Output[dsl.Metrics]) -> str:
    """Tell people what failed in a run and why.

    Parameters
    ----------
    subject
        What ran.
    folders
        Folders in which the run's targets lie.
    settings
        Fields of `focus_core.config.NotifySettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import NotifySettings, from_mapping
    from focus_core.steps.notify import notify

    found = notify(subject, folders, settings=from_mapping(NotifySettings, settings))
    for name, value in found.items():
        metrics.log_metric(name, value)
    return subject
