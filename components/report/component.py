"""Kubeflow shell over `focus_core.steps.report`."""

from kfp import dsl

from components.images import PYTHON_IMAGE


@dsl.component(base_image=PYTHON_IMAGE, install_kfp_package=False)
def report(
    campaign_file: str,
    cube_uri: str,
    reference_uri: str,
    importance_uri: str,
    evaluation_uri: str,
    report_path: str,
    settings: dict,
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Write the field report, one self-contained page.

    Parameters
    ----------
    campaign_file, cube_uri, reference_uri, importance_uri, evaluation_uri
        The campaign file, and what the steps before wrote.
    report_path
        The page.
    settings
        Fields of `focus_core.config.ReportSettings`; the rest keep their defaults.
    metrics
        What the step returns.
    """
    from focus_core.config import ReportSettings, from_mapping
    from focus_core.steps.report import report

    stores = (cube_uri, reference_uri, importance_uri, evaluation_uri)
    chosen = from_mapping(ReportSettings, settings)
    found = report(campaign_file, *stores, report_path, settings=chosen)
    for name, value in found.items():
        metrics.log_metric(name, value)
    return report_path
