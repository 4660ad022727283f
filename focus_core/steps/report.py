"""The step ``report``: one flight's stores to one page that an agronomist can read offline."""

from __future__ import annotations

from focus_core.config import CampaignFile, ReportSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import digest, local_path, record
from focus_core.cubes.schema import CUBE, IMPORTANCE, REFERENCE
from focus_core.cubes.store import open_store
from focus_core.errors import StoreError
from focus_core.report import Sources, render_page
from focus_core.steps._page import write_page
from focus_core.steps._status import recorded


@recorded("report_path")
def report(
    campaign_file: str,
    cube_uri: str,
    reference_uri: str,
    importance_uri: str,
    evaluation_uri: str,
    report_path: str,
    *,
    settings: ReportSettings,
) -> Metrics:
    """Write the field report of one flight: a page that holds all it needs.

    Parameters
    ----------
    campaign_file
        The flight's campaign file.
    cube_uri, reference_uri
        The flight's ``cube.zarr`` and ``reference.zarr``.
    importance_uri
        The store of all flights; an earlier flight in it is compared with this one.
    evaluation_uri
        What ``evaluate`` wrote for the flight.
    report_path
        Where to write the page; an earlier one is replaced whole.
    settings
        Heading, and draws behind the intervals.

    Returns
    -------
    Metrics
        ``plots`` shown, ``campaigns`` in the store, ``megabytes`` of the page.

    Raises
    ------
    StoreError
        If ``importance.zarr`` does not hold the flight, or cube or reference are another campaign's.
    MissingInputError
        If an input does not exist.
    TargetError
        If the page cannot be written.
    """
    file = CampaignFile(campaign_file)
    cube, reference = open_store(cube_uri, CUBE), open_store(reference_uri, REFERENCE)
    for uri, dataset in ((cube_uri, cube), (reference_uri, reference)):
        if dataset.attrs["campaign"] != file.campaign.campaign:
            raise StoreError(
                f"'{uri}' belongs to the campaign '{dataset.attrs['campaign']}', but '{campaign_file}' is "
                f"'{file.campaign.campaign}'; give the stores of one campaign"
            )
    importance = open_store(importance_uri, IMPORTANCE)
    named = {
        "campaign file": str(file.path),
        "cube": cube_uri,
        "reference": reference_uri,
        "importance": importance_uri,
        "evaluation": evaluation_uri,
    }
    sources = Sources(
        campaign=file.campaign,
        cube=cube,
        reference=reference,
        importance=importance,
        metrics=record(evaluation_uri)["metrics"],
        digests={name: (uri, digest(uri)) for name, uri in named.items()},
    )
    page = render_page(sources, settings=settings)
    write_page(page, local_path(report_path))
    plots = importance["present"].sel(campaign=file.campaign.campaign).sum()
    return {
        "plots": float(plots),
        "campaigns": float(importance.sizes["campaign"]),
        "megabytes": len(page.encode()) / 1e6,
    }
