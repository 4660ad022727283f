"""Finds flights below a folder that have arrived whole. Starts nothing and remembers nothing.

A flight has arrived when its campaign file is valid, every file that it names is there, and none of them changed for a
while; or, where the uploader leaves a marker as its last act, when the marker is there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from focus_core.config import CampaignFile
from focus_core.cubes.record import digest
from focus_core.errors import CampaignError, MissingInputError
from pipelines.ledger import Flight

CAMPAIGN_FILE = "campaign.yaml"


@dataclass
class Found:
    """What a scan found."""

    ready: list[tuple[Flight, CampaignFile | None]] = field(default_factory=list)
    """Flights that have arrived and that nobody knows yet; without a campaign file where they lie in a bucket."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Why each other unknown campaign file is left alone, by path."""


def scan(folder: Path, *, settle_s: float, marker: str | None, known: Callable[[str], bool]) -> Found:
    """Look at every ``campaign.yaml`` below a folder.

    Parameters
    ----------
    folder
        The folder; links to folders are not followed.
    settle_s
        How long no file of a flight may have changed, seconds.
    marker
        Name of the file that an uploader leaves beside the campaign file last; with it nothing is waited for.
    known
        Whether files of a stamp were taken up before; those are not read.

    Raises
    ------
    MissingInputError
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise MissingInputError(f"'{folder}': no such folder; give the one in which flights arrive")
    found = Found()
    for path in sorted(folder.rglob(CAMPAIGN_FILE)):
        try:
            file = CampaignFile(path)
            flight = _arrived(file, settle_s, marker, known)
        except (CampaignError, MissingInputError) as error:
            found.waiting[str(path)] = str(error)
        except OSError as error:  # a file went away between two looks
            found.waiting[str(path)] = f"{path}: {error}"
        else:
            if isinstance(flight, Flight):
                found.ready.append((flight, file))
            elif flight:
                found.waiting[str(path)] = flight
    return found


def _arrived(file: CampaignFile, settle_s: float, marker: str | None, known: Callable[[str], bool]) -> Flight | str:
    """Return the flight, why it is not there yet, or nothing where it is known."""
    files = files_of(file)
    stamp = _stamp(files)
    if known(stamp):
        return ""
    if marker is not None:
        if not (file.path.parent / marker).is_file():
            return f"{file.path}: waits for the marker '{marker}'"
    else:
        # A copy may set an old time of change; that of the file's entry is the file system's own.
        age_s = time.time() - max(max(path.stat().st_mtime, path.stat().st_ctime) for path in files)
        if age_s < settle_s:
            return f"{file.path}: changed {age_s:.0f} s ago; taken up when nothing changed for {settle_s:.0f} s"
    content = content_of(files)
    if _stamp(files) != stamp:
        return f"{file.path}: changed while it was read"
    return Flight(campaign=file.campaign.campaign, path=str(file.path), digest=content, stamp=stamp)


def files_of(file: CampaignFile) -> list[Path]:
    """Return the campaign file and all that it names, with the other half of each ENVI pair."""
    inputs = file.inputs()
    return [*inputs, *_beside(inputs)]


def content_of(files: list[Path]) -> str:
    """Return the sha256 over the content of files, in their order."""
    return hashlib.sha256("".join(digest(path) for path in files).encode()).hexdigest()


def _beside(inputs: list[Path]) -> list[Path]:
    """Return the other half of each ENVI pair: the campaign file names the header or the data."""
    found = set()
    for path in inputs:
        if path.suffix == ".hdr":
            found |= {other for other in path.parent.iterdir() if other.is_file() and other.stem == path.stem}
            found |= {path.with_suffix("")} if path.with_suffix("").is_file() else set()
        else:
            headers = (path.with_name(f"{path.name}.hdr"), path.with_suffix(".hdr"))
            found |= {header for header in headers if header.is_file()}
    return sorted(found - set(inputs))


def _stamp(files: list[Path]) -> str:
    parts = []
    for path in files:
        found = path.stat()
        parts.append(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ino}")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
