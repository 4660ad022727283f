"""New flights start by themselves: each that has arrived whole is claimed in the ledger and handed to a runner.

Knows when; a runner knows how. Any number of watchers may share a ledger, be killed and be started again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from focus_core import log
from focus_core.config import CampaignFile, RunLayout, RunSettings
from focus_core.cubes.remote import is_remote
from focus_core.errors import FlightsError, FocusError
from focus_core.repeat import repeated
from pipelines.arguments import campaign_arguments, run_name
from pipelines.bucket import fetch_flight, scan_bucket
from pipelines.ledger import LEASE_SECONDS, Flight, Ledger
from pipelines.placement import Placement
from pipelines.scan import Found, scan
from pipelines.server import Server

logger = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs the campaign pipeline."""

    def start(self, flight: Flight, file: CampaignFile) -> str:
        """Start a flight; returns its run's id, or nothing where the flight is done already."""

    def settle(self, ledger: Ledger) -> None:
        """Put into the ledger what came of flights that run elsewhere."""


@dataclass(frozen=True)
class Here:
    """Runs on this machine, one flight after the other, with the present champion."""

    layout: RunLayout
    settings: RunSettings

    def start(self, flight: Flight, file: CampaignFile) -> str:
        """Run a flight to its end."""
        from pipelines.local import run

        log.begin_run(anew=True)
        run([file], self.layout, self.settings, fit=False)
        return ""

    def settle(self, ledger: Ledger) -> None:
        """Nothing runs elsewhere."""


@dataclass(frozen=True)
class AtServer:
    """Submits to a Kubeflow server."""

    server: Server
    layout: RunLayout
    settings: RunSettings
    placement: Placement

    def start(self, flight: Flight, file: CampaignFile) -> str:
        """Submit a flight, under the name that it has when a person submits it: the server makes one run of both."""
        arguments = campaign_arguments(file, self.layout, self.settings)
        name = run_name("campaign", flight.campaign, flight.digest, arguments)
        return self.server.submit("campaign", name, arguments, self.placement)

    def settle(self, ledger: Ledger) -> None:
        """Ask the server for every run that is still open in the ledger."""
        for entry in ledger.entries():
            if entry.state == "submitted":
                now = self.server.state(entry.run)
                if now.over:
                    ledger.close_flight(entry.flight, "failed" if now.failed else "done", now.reason)


@dataclass
class Round:
    """What one look at the folder led to."""

    started: list[str] = field(default_factory=list)
    """Ids of the campaigns that this process started."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why each other one that this process took could not be started or ran badly."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Why the remaining campaign files were left alone, by path."""
    seen: int = 0
    """Flights that had arrived whole and that nobody knew when the look began."""


def look(
    folder: str | Path,
    ledger: Ledger,
    runner: Runner,
    *,
    settle_s: float,
    marker: str | None,
    copies: Path,
    failed_too: bool = False,
) -> Round:
    """Look once: start what has arrived and nobody has taken.

    Parameters
    ----------
    folder
        Where flights arrive: a folder, or ``s3://bucket/…``.
    ledger
        What is known of flights, shared by all who watch.
    runner
        Runs a flight or submits it.
    settle_s, marker
        When a flight has arrived, as in `scan`.
    copies
        Folder that the runner sees, to which flights in a bucket are copied.
    failed_too
        Whether flights that failed before are tried again.

    Raises
    ------
    LedgerError, MissingInputError, ServerError, TargetError
        If the database, the folder, the server or the bucket is out of reach.
    """
    runner.settle(ledger)
    known = partial(ledger.known, failed_too=failed_too)
    if is_remote(folder):
        found = scan_bucket(str(folder), settle_s=settle_s, marker=marker, known=known)
    else:
        found = scan(Path(folder), settle_s=settle_s, marker=marker, known=known)
    _hold_back(found, ledger)
    done = Round(waiting=found.waiting, seen=len(found.ready))
    for flight, file in found.ready:
        if not ledger.claim(flight, failed_too=failed_too):
            continue
        try:
            with _alive(ledger, flight):
                run = runner.start(flight, file or fetch_flight(flight, copies))
        except FocusError as error:
            done.failed[flight.campaign] = str(error)
            ledger.close_flight(flight, "failed", str(error))
        else:
            done.started.append(flight.campaign)
            with log.about(campaign=flight.campaign, **({"run": run} if run else {})):
                logger.info("%s: taken up", flight.campaign)
            if run:
                ledger.submitted(flight, run)
            else:
                ledger.close_flight(flight, "done")
    return done


def _hold_back(found: Found, ledger: Ledger) -> None:
    """Keep flights of one id apart: they would write to the same stores."""
    entries = ledger.entries()
    busy = {entry.flight.campaign: entry for entry in entries if entry.state in ("claimed", "submitted")}
    paths = {entry.flight.campaign: entry.flight.path for entry in entries}
    free = []
    for flight, file in found.ready:
        other = paths.setdefault(flight.campaign, flight.path)
        running = busy.get(flight.campaign)
        if other != flight.path:
            found.waiting[flight.path] = (
                f"{flight.path}: '{flight.campaign}' is the id of {other} too; give each a 'campaign' of its own"
            )
        elif running is not None and running.flight.digest != flight.digest:
            found.waiting[flight.path] = f"{flight.path}: an earlier version of it is being processed"
        else:
            free.append((flight, file))
    found.ready[:] = free


@contextmanager
def _alive(ledger: Ledger, flight: Flight) -> Iterator[None]:
    """Give signs of life for a claim while the block runs."""

    def renew() -> None:
        try:
            ledger.renew(flight)
        except FocusError as error:
            logger.warning("%s", error)

    with repeated(renew, every_s=LEASE_SECONDS / 4):
        yield


def serve(step: Callable[[], Round], *, every_s: float | None) -> None:
    """Look once, or again and again where ``every_s`` is given; tell what changed.

    A database, folder or server that is out of reach ends a single look; a standing watcher tells of it and looks
    again, because whoever mends it should not have to start the watcher too.

    Raises
    ------
    FlightsError
        After a single look, if flights failed in it.
    """
    told: dict[str, str] = {}
    while True:
        try:
            done = step()
        except FocusError as error:
            if every_s is None:
                raise
            logger.warning("%s; looking again in %.0f s", error, every_s)
        else:
            for campaign, reason in done.failed.items():
                with log.about(campaign=campaign):
                    logger.error("%s: %s", campaign, reason)
            for path, reason in done.waiting.items():
                if told.get(path) != reason:
                    logger.info("waits: %s", reason)
            told = done.waiting
            if done.failed and every_s is None:
                raise FlightsError("; ".join(f"{campaign}: {reason}" for campaign, reason in done.failed.items()))
        if every_s is None:
            return
        time.sleep(every_s)
