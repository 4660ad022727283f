"""Status of each flight of a season, in parts: one file for each chunk of the list, and one of them all in the end."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from focus_core.config import Settings
from focus_core.cubes.record import local_path
from focus_core.errors import MissingInputError, StoreError, TargetError


class FlightStatus(Settings):
    """How one flight of a season fares."""

    file: str
    """Its campaign file."""
    campaign: str = ""
    """Its id; empty where the file could not be read."""
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    reason: str = ""
    """Message of the last error."""
    report: str = ""
    """Path of its page."""
    left_out: tuple[str, ...] = ()
    """Its damaged cubes that were left out, each with the reason."""
    tries: int = 0
    """How often its steps were begun."""
    seconds: float = 0.0
    """Time spent on it, waits between tries included, s."""


def parts_folder(manifest_uri: str) -> Path:
    """Return the folder of a season's parts, beside its manifest: ``season`` beside ``season.json``."""
    return local_path(manifest_uri).with_suffix("")


def part_uris(manifest_uri: str) -> list[str]:
    """Return the parts of a season in the order of its list."""
    return sorted(str(path) for path in parts_folder(manifest_uri).glob("*.json"))


def read_flights(uri: str) -> list[FlightStatus]:
    """Read a manifest or a part of one.

    Raises
    ------
    MissingInputError
        If it does not exist.
    StoreError
        If it is no manifest.
    """
    try:
        return [FlightStatus.model_validate(item) for item in json.loads(local_path(uri).read_bytes())]
    except FileNotFoundError as error:
        raise MissingInputError(f"'{uri}': no such part of a season; run 'split' first") from error
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"'{uri}' is no status of flights: {error}; run the season again") from error


def write_flights(uri: str | Path, flights: Sequence[FlightStatus]) -> None:
    """Write a manifest or a part of one; whoever reads it meanwhile sees the one before, whole.

    Raises
    ------
    TargetError
        If it cannot be written.
    """
    target = local_path(uri)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps([item.model_dump(mode="json") for item in flights], indent=2), encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise TargetError(f"'{target}' cannot be written: {error}; make its folder writable") from error
