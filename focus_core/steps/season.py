"""A season on one machine: split, every chunk in its turn, gather; the season pipeline runs the same three steps."""

from __future__ import annotations

from focus_core.config import SeasonSettings
from focus_core.cubes.publish import Metrics
from focus_core.steps._flights import part_uris
from focus_core.steps.flights import flights
from focus_core.steps.gather import gather
from focus_core.steps.split import split


def season(flights_file: str, manifest_uri: str, *, settings: SeasonSettings) -> Metrics:
    """Explain each flight of a list, one after the other, and keep a status of each.

    Parameters
    ----------
    flights_file
        Text file with the path of a campaign file on each line; ``#`` begins a comment.
    manifest_uri
        Where to write the status of each flight, ``season.json``; the stores lie beside it as `focus run` lays them
        out. Until then its parts lie in the folder of this name.
    settings
        Settings of the steps, how often a flight is tried, and how many may fail.

    Returns
    -------
    Metrics
        As of `gather`.

    Raises
    ------
    MissingInputError
        If the list does not exist.
    CampaignError
        If the list names no flight.
    FlightsError
        After the last flight, if more failed than may; names each with its reason.
    """
    split(flights_file, manifest_uri, settings=settings)
    for part in part_uris(manifest_uri):
        flights(part, manifest_uri, settings=settings)
    return gather(manifest_uri, settings=settings)
