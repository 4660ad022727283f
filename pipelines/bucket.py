"""Finds flights in a bucket that have arrived whole, and copies one to a folder. Starts nothing and remembers nothing.

A look costs one listing, and a read of the campaign file of each flight that nobody knows yet: a flight's content is
known by the ETags of its objects. Nothing else is copied before the flight is claimed.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore

from focus_core.config import CampaignFile
from focus_core.cubes.remote import below, object_store, reaching
from focus_core.errors import CampaignError, FocusError, MissingInputError, TargetError
from pipelines.ledger import Flight
from pipelines.scan import CAMPAIGN_FILE, Found, files_of

_DONE = ".flight"
"""File in the copy of a flight that says which one it is; written last."""
_THREADS = 8

Objects = Mapping[str, Mapping[str, Any]]
"""What the store says of each object, by its key below the flight's own folder."""


def scan_bucket(uri: str, *, settle_s: float, marker: str | None, known: Callable[[str], bool]) -> Found:
    """Look at every ``campaign.yaml`` below an ``s3://`` URI; arguments as of `pipelines.scan.scan`.

    Raises
    ------
    TargetError
        If the bucket is out of reach.
    """
    found = Found()
    listed = _listed(uri)
    for key in sorted(key for key in listed if f"/{key}".endswith(f"/{CAMPAIGN_FILE}")):
        folder = key.removesuffix(CAMPAIGN_FILE)
        own = {name.removeprefix(folder): item for name, item in listed.items() if name.startswith(folder)}
        place = f"{uri.rstrip('/')}/{folder}".rstrip("/")
        path = f"{place}/{CAMPAIGN_FILE}"
        if known(_stamp(place, own)):
            continue
        try:
            waits = _waits(own, settle_s, marker)
            if not waits:
                found.ready.append((_flight(place, own), None))
        except (FocusError, OSError) as error:
            waits = str(error).removeprefix(f"{path}: ")
        if waits:
            found.waiting[path] = f"{path}: {waits}"
    return found


def fetch_flight(flight: Flight, copies: Path) -> CampaignFile:
    """Copy a flight to a folder of its own, unless it is there already.

    Raises
    ------
    TargetError
        If the bucket is out of reach, or the flight changed after it was found.
    """
    place, folder = flight.path.removesuffix(f"/{CAMPAIGN_FILE}"), copies / flight.campaign
    done = folder / _DONE
    if not (done.is_file() and done.read_text(encoding="utf-8") == flight.digest):
        own = _listed(place)
        if _stamp(place, own) != flight.stamp:
            raise TargetError(f"'{place}' changed after it was found; it is taken up when it has settled")
        shutil.rmtree(folder, ignore_errors=True)
        _copy(place, own, folder)
        done.write_text(flight.digest, encoding="utf-8")
    return CampaignFile(folder / CAMPAIGN_FILE)


def _listed(uri: str) -> Objects:
    with reaching(uri):
        found = [item for batch in obstore.list(object_store(uri)) for item in batch]
    return {item["path"]: item for item in found}


def _stamp(place: str, own: Objects) -> str:
    parts = [f"{place}/{key}\0{item['size']}\0{item['e_tag']}\0{item['last_modified']}" for key, item in own.items()]
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()


def _waits(own: Objects, settle_s: float, marker: str | None) -> str:
    if marker is not None:
        return "" if marker in own else f"waits for the marker '{marker}'"
    # Some stores round the time up, into the future.
    age_s = max(time.time() - max(item["last_modified"].timestamp() for item in own.values()), 0.0)
    if age_s >= settle_s:
        return ""
    return f"changed {age_s:.0f} s ago; taken up when nothing changed for {settle_s:.0f} s"


def _flight(place: str, own: Objects) -> Flight:
    """Read the campaign file among empty stand-ins of the others, so that it is checked as a local one is."""
    with tempfile.TemporaryDirectory(prefix="focus-") as name:
        folder = Path(name).resolve()
        for key in own:
            path = below(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        _copy(place, {CAMPAIGN_FILE: own[CAMPAIGN_FILE]}, folder)
        try:
            file = CampaignFile(folder / CAMPAIGN_FILE)
            files = files_of(file)
        except (CampaignError, MissingInputError) as error:
            raise CampaignError(str(error).replace(str(folder), place)) from error
        named = [path.relative_to(folder).as_posix() for path in files]
    parts = [
        f"{key}\0{own[key]['size']}\0{own[key]['e_tag']}"
        for name in named
        for key in sorted(own)
        if key == name or key.startswith(f"{name}/")
    ]
    content = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    path = f"{place}/{CAMPAIGN_FILE}"
    return Flight(campaign=file.campaign.campaign, path=path, digest=content, stamp=_stamp(place, own))


def _copy(place: str, own: Objects, folder: Path) -> None:
    """Copy objects as they were listed; one that has changed since is refused by the store."""
    store = object_store(place)

    def copy(key: str) -> None:
        path = below(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for piece in obstore.get(store, key, options={"if_match": own[key]["e_tag"]}):
                file.write(piece)

    with reaching(place), ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(copy, own))
