"""The ledger of flights: which were seen, who works on them and what came of it, in a database that several share.

Knows one table and its transactions; reads no flight and starts nothing.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from focus_core.errors import FocusError, SettingsError

State = Literal["claimed", "submitted", "done", "failed"]

LEASE_SECONDS = 600.0
"""How long a claim stands without a sign of life, s; clocks of those who share a ledger must agree better than this."""
_WAIT_SECONDS = 60

_TABLE = sa.Table(
    "focus_flights",
    sa.MetaData(),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("stamp", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)


class LedgerError(FocusError, RuntimeError):
    """The ledger's database cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A campaign file and everything it names, by content."""

    campaign: str
    path: str
    digest: str
    """sha256 over the content of the campaign file and of each file that it names, in their order."""
    stamp: str
    """sha256 over path, size and times of the same files: cheap to read, and enough to know them again."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the ledger knows of a flight."""

    flight: Flight
    state: State
    holder: str
    attempts: int
    run: str
    """Id of its run at the server; empty where it ran on the watcher's machine."""
    reason: str
    """Why it failed."""


class Ledger:
    """A table of flights in the database behind a URL; safe for many processes at once.

    Parameters
    ----------
    url
        SQLAlchemy URL of SQLite or PostgreSQL; the table is made where there is none. It may be MLflow's database.

    Raises
    ------
    SettingsError
        If the URL is of another kind.
    LedgerError
        If the database does not answer or refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise SettingsError(
                "the ledger's address is no database URL; give sqlite:///PATH or postgresql://…"
            ) from error
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise SettingsError(
                f"the ledger's address is of kind '{parsed.drivername}'; give sqlite:///PATH or postgresql://…"
            )
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._place = parsed.render_as_string(hide_password=True)
        wait = {"timeout": _WAIT_SECONDS} if parsed.get_backend_name() == "sqlite" else {"connect_timeout": 10}
        self._engine = sa.create_engine(parsed, connect_args=wait, pool_pre_ping=True)
        with self._reported("open"):
            self._make()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def known(self, stamp: str, *, failed_too: bool = False) -> bool:
        """Return whether files of this stamp were taken up before; not where `claim` would give them out again."""
        chosen = sa.select(_TABLE.c.digest).where(_TABLE.c.stamp == stamp, ~_free(failed_too))
        with self._reported("read"), self._engine.connect() as connection:
            return connection.execute(chosen.limit(1)).first() is not None

    def claim(self, flight: Flight, *, failed_too: bool = False) -> bool:
        """Take a flight for this process; of any number that ask for one content, one is answered yes.

        A flight that somebody claimed and then gave no sign of life for is taken over.

        Parameters
        ----------
        flight
            The flight.
        failed_too
            Whether one that failed before may be tried again.
        """
        own = {"holder": self.holder, "until": time.time() + LEASE_SECONDS, "state": "claimed"}
        again = {"stamp": flight.stamp, "path": flight.path, "attempts": _TABLE.c.attempts + 1, "reason": ""}
        with self._reported("claim a flight in"):
            if self._add(flight, own):
                return True
            return self._change(flight.digest, _free(failed_too), {**own, **again})

    def renew(self, flight: Flight) -> bool:
        """Give a sign of life; false where the claim was lost to another."""
        with self._reported("renew a claim in"):
            return self._change(flight.digest, self._mine(), {"until": time.time() + LEASE_SECONDS})

    def submitted(self, flight: Flight, run: str) -> bool:
        """Put down under which id a claimed flight runs at the server; false where the claim was lost."""
        with self._reported("write to"):
            return self._change(flight.digest, self._mine(), {"state": "submitted", "run": run})

    def close_flight(self, flight: Flight, state: Literal["done", "failed"], reason: str = "") -> bool:
        """Put down what came of a flight that is this process's, or that runs at the server."""
        mine = self._mine() | (_TABLE.c.state == "submitted")
        with self._reported("write to"):
            return self._change(flight.digest, mine, {"state": state, "reason": reason})

    def entries(self) -> list[Entry]:
        """Return every flight of the ledger, by campaign and path."""
        rows = sa.select(_TABLE).order_by(_TABLE.c.campaign, _TABLE.c.path)
        with self._reported("read"), self._engine.connect() as connection:
            return [_entry(row._mapping) for row in connection.execute(rows)]

    def _mine(self) -> sa.ColumnElement[bool]:
        return (_TABLE.c.state == "claimed") & (_TABLE.c.holder == self.holder)

    def _add(self, flight: Flight, own: Mapping[str, Any]) -> bool:
        row = {**vars(flight), **own, "attempts": 1, "run": "", "reason": ""}
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(_TABLE).values(**row))
        except sa.exc.IntegrityError:  # somebody was there before
            return False
        return True

    def _change(self, digest: str, free: sa.ColumnElement[bool], values: Mapping[str, Any]) -> bool:
        with self._engine.begin() as connection:
            changed = connection.execute(sa.update(_TABLE).where(_TABLE.c.digest == digest, free).values(**values))
            return changed.rowcount == 1

    def _make(self) -> None:
        try:
            _TABLE.metadata.create_all(self._engine)
        except sa.exc.DBAPIError:
            # Of two that start at once, one finds the table there after it had looked.
            if not sa.inspect(self._engine).has_table(_TABLE.name):
                raise

    @contextmanager
    def _reported(self, action: str) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip()
            raise LedgerError(
                f"could not {action} the ledger at {self._place}: {reason}; check that the database runs and that "
                "you may write to it; what was started goes on, and the next scan finds it again"
            ) from error


def _free(failed_too: bool) -> sa.ColumnElement[bool]:
    free = (_TABLE.c.state == "claimed") & (_TABLE.c.until < time.time())
    return free | (_TABLE.c.state == "failed") if failed_too else free


def _entry(row: Mapping[str, Any]) -> Entry:
    flight = Flight(**{key: row[key] for key in ("campaign", "path", "digest", "stamp")})
    return Entry(flight=flight, **{key: row[key] for key in ("state", "holder", "attempts", "run", "reason")})
