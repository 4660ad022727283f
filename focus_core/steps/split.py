"""The step ``split``: a list of flights to chunks, each a file in which its flights' status is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from focus_core.config import CampaignFile, RunLayout, SeasonSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import local_path
from focus_core.errors import CampaignError, FocusError, MissingInputError
from focus_core.steps._flights import FlightStatus, part_uris, parts_folder, write_flights
from focus_core.steps._status import recorded

__all__ = ["part_uris", "split"]


@recorded("manifest_uri")
def split(flights_file: str, manifest_uri: str, *, settings: SeasonSettings) -> Metrics:
    """Cut a list of flights into chunks that `flights` explains, side by side where there is room.

    What an earlier season left of parts is removed; its stores are not, and finished steps are not run again.

    Parameters
    ----------
    flights_file
        Text file with the path of a campaign file on each line; ``#`` begins a comment.
    manifest_uri
        Where the status of each flight will be, ``season.json``; the parts lie in the folder of this name beside it.
    settings
        How many flights make a chunk.

    Returns
    -------
    Metrics
        ``flights`` of the list, and ``chunks``.

    Raises
    ------
    MissingInputError
        If the list does not exist.
    CampaignError
        If the list names no flight.
    """
    found = _without_doubles(_listed(Path(flights_file)))
    folder = parts_folder(manifest_uri)
    RunLayout.below(local_path(manifest_uri).parent).make()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    starts = range(0, len(found), settings.flights_per_chunk)
    for number, start in enumerate(starts):
        write_flights(folder / f"{number:04d}.json", found[start : start + settings.flights_per_chunk])
    return {"flights": float(len(found)), "chunks": float(len(starts))}


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such list of flights; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    found = [line.partition("#")[0].strip() for line in lines]
    if not any(found):
        raise CampaignError(f"{path}: names no flight; write the path of a campaign file on each line")
    return list(dict.fromkeys(str((path.parent / line).absolute()) for line in found if line))


def _without_doubles(paths: list[str]) -> list[FlightStatus]:
    """Return the flights, the second of two with one id failed: chunks do not see each other's."""
    names: dict[str, str] = {}
    found = []
    for path in paths:
        item = FlightStatus(file=path)
        try:
            file = CampaignFile(path)
            other = names.setdefault(file.campaign.campaign, path)
            item = item.model_copy(update={"campaign": file.campaign.campaign})
            if other != path:
                raise file.error(("campaign",), f"'{item.campaign}' is the id of {other} too; give each its own")
        except FocusError as error:
            item = item.model_copy(update={"state": "failed", "reason": str(error)})
        found.append(item)
    return found
