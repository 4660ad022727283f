"""The step ``flights``: the flights of one chunk explained by the champion; a bad flight costs that flight alone."""

from __future__ import annotations

import logging
import time

from focus_core.config import CampaignFile, RunLayout, SeasonSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import local_path
from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store
from focus_core.errors import FocusError
from focus_core.steps._flights import FlightStatus, read_flights, write_flights
from focus_core.steps.run import run

logger = logging.getLogger(__name__)


def flights(part_uri: str, manifest_uri: str, *, settings: SeasonSettings) -> Metrics:
    """Explain the flights of a chunk, one after the other, and keep a status of each.

    A flight whose steps fail is tried again, and in the end left out: that is told by `gather`, not here, so that one
    flight does not end the others' task. A chunk whose task was killed goes on where it stood. Chunks may run side by
    side: a campaign that is being merged into ``importance.zarr`` makes the next wait.

    Parameters
    ----------
    part_uri
        One of the parts that `split` wrote; rewritten after each change.
    manifest_uri
        Path of ``season.json``; the stores lie beside it as `focus run` lays them out.
    settings
        Settings of the steps, and how often a flight is tried.

    Returns
    -------
    Metrics
        ``flights`` of the chunk, and how many of them ``failed``.

    Raises
    ------
    MissingInputError
        If there is no such part.
    """
    layout = RunLayout.below(local_path(manifest_uri).parent)
    found = read_flights(part_uri)
    for at, item in enumerate(found):
        if item.state in ("done", "failed"):
            continue
        started, tries = time.monotonic(), item.tries
        while found[at].state not in ("done", "failed"):
            tries += 1
            found[at] = item.model_copy(update={"state": "running", "tries": tries, "reason": found[at].reason})
            write_flights(part_uri, found)
            found[at] = _tried(found[at], layout, settings)
            found[at] = found[at].model_copy(update={"seconds": round(time.monotonic() - started, 3)})
            write_flights(part_uri, found)
            if found[at].state == "waiting":
                time.sleep(settings.retry_after_s)
    return {"flights": float(len(found)), "failed": float(sum(item.state == "failed" for item in found))}


def _tried(item: FlightStatus, layout: RunLayout, settings: SeasonSettings) -> FlightStatus:
    """Return the status of a flight after one try; it waits where another one may help."""
    again = "waiting" if item.tries <= settings.retries else "failed"
    try:
        file = CampaignFile(item.file)
        file.inputs()
    except FocusError as error:
        return item.model_copy(update={"state": "failed", "reason": str(error)})  # what is written wrong stays wrong
    try:
        run([file], layout, settings, fit=False)
    except FocusError as error:
        logger.warning("%s: %s", item.file, error)
        return item.model_copy(update={"state": again, "reason": str(error)})
    except Exception as error:
        # A defect that one flight brings out must not cost the others; its traceback is kept.
        logger.exception("%s", item.file)
        return item.model_copy(update={"state": again, "reason": f"{type(error).__name__}: {error}"})
    own = layout.campaign(file)
    left_out = tuple(f"{cube['file']}: {cube['reason']}" for cube in open_store(own.cube, CUBE).attrs["left_out"])
    return item.model_copy(update={"state": "done", "reason": "", "report": own.report, "left_out": left_out})
