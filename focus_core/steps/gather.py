"""The step ``gather``: what became of each flight of a season, from its parts to one manifest."""

from __future__ import annotations

import logging

from focus_core.config import SeasonSettings
from focus_core.cubes.publish import Metrics
from focus_core.errors import FlightsError, MissingInputError
from focus_core.steps._flights import FlightStatus, part_uris, read_flights, write_flights
from focus_core.steps._status import recorded

logger = logging.getLogger(__name__)

_CUT_OFF = "the task that explained it ended before it was done; run the season again"


@recorded("manifest_uri")
def gather(manifest_uri: str, *, settings: SeasonSettings) -> Metrics:
    """Write the status of every flight, and fail if more flights failed than may.

    Parameters
    ----------
    manifest_uri
        Where to write it, ``season.json``; the parts lie in the folder of this name beside it.
    settings
        How many flights may fail.

    Returns
    -------
    Metrics
        ``flights`` of the list, how many of them ``failed``, ``retried``: were done after a failed try, and the
        damaged cubes that were left out of those that are done, ``cubes_left_out``.

    Raises
    ------
    MissingInputError
        If there is no part.
    FlightsError
        If more failed than may; names each with its reason.
    """
    parts = part_uris(manifest_uri)
    if not parts:
        raise MissingInputError(f"'{manifest_uri}': the season was never split; run 'split' first")
    manifest = [_ended(item) for part in parts for item in read_flights(part)]
    write_flights(manifest_uri, manifest)
    for item in manifest:
        if item.left_out:
            logger.warning("%s: explained without its damaged cubes:\n%s", item.campaign, "\n".join(item.left_out))
    failed = [item for item in manifest if item.state == "failed"]
    if len(failed) > settings.may_fail:
        told = "\n".join(f"{item.campaign or item.file}: {item.reason}" for item in failed)
        raise FlightsError(
            f"{len(failed)} of {len(manifest)} flights failed, the others are explained ({manifest_uri}); mend these "
            f"and run again:\n{told}"
        )
    retried = sum(item.state == "done" and item.tries > 1 for item in manifest)
    return {
        "flights": float(len(manifest)),
        "failed": float(len(failed)),
        "retried": float(retried),
        "cubes_left_out": float(sum(len(item.left_out) for item in manifest)),
    }


def _ended(item: FlightStatus) -> FlightStatus:
    if item.state in ("done", "failed"):
        return item
    reason = f"{_CUT_OFF} ({item.reason})" if item.reason else _CUT_OFF
    return item.model_copy(update={"state": "failed", "reason": reason})
