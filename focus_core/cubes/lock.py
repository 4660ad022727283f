"""A lock that is an object in a bucket: taken by a conditional write, renewed while its holder lives.

Knows one object; what it guards is the caller's.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from focus_core.errors import BusyError
from focus_core.repeat import repeated

LEASE_SECONDS = 60.0
"""How long a lock stands without a sign of life, s; clocks of its holder and the server must agree better than this."""


def content(store: S3Store, key: str) -> bytes | None:
    """Return what an object holds; none where there is no such object."""
    try:
        return bytes(obstore.get(store, key).bytes())
    except FileNotFoundError:
        return None


class Lock:
    """A lock for one writer.

    Parameters
    ----------
    store, key
        Where the lock lies; the store must know conditional writes (``If-None-Match``).
    guarded
        What it guards, for messages.
    """

    def __init__(self, store: S3Store, key: str, guarded: str) -> None:
        self._store, self._key, self._guarded = store, key, guarded
        self._token = f"{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4().hex}".encode()

    def take(self) -> bool:
        """Take the lock; return whether a holder had died with it.

        Raises
        ------
        BusyError
            If another one holds it.
        """
        abandoned = False
        for _ in range(3):
            try:
                obstore.put(self._store, self._key, self._token, mode="create")
            except AlreadyExistsError as error:
                with suppress(FileNotFoundError):  # its holder has just left
                    self._refuse_living(error)
                    obstore.delete(self._store, self._key)
                    abandoned = True
            else:
                return abandoned
        raise BusyError(f"'{self._guarded}' is being taken over by another process; wait for it")

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Give signs of life while the block runs, and free the lock at its end."""
        try:
            with repeated(self._renew, every_s=LEASE_SECONDS / 4):
                yield
        finally:
            with suppress(BaseError, FileNotFoundError):
                if self._is_ours():
                    obstore.delete(self._store, self._key)

    def refuse_lost(self) -> None:
        """Refuse to go on where another one took the lock, because no sign of life came.

        Raises
        ------
        BusyError
            If it did.
        """
        if not self._is_ours():
            raise BusyError(f"'{self._guarded}' was taken over by another process meanwhile; run the step again")

    def _is_ours(self) -> bool:
        return content(self._store, self._key) == self._token

    def _renew(self) -> None:
        with suppress(BaseError, FileNotFoundError):
            if self._is_ours():
                obstore.put(self._store, self._key, self._token)

    def _refuse_living(self, cause: AlreadyExistsError) -> None:
        held = obstore.get(self._store, self._key)
        age_s = (dt.datetime.now(dt.UTC) - held.meta["last_modified"]).total_seconds()
        if age_s < LEASE_SECONDS:
            holder = bytes(held.bytes()).decode("utf-8", errors="replace").rpartition(",")[0]
            raise BusyError(
                f"'{self._guarded}' is being written by another process ({holder}), whose last sign of life came "
                f"{age_s:.0f} s ago; wait for it, or {LEASE_SECONDS:.0f} s after it died"
            ) from cause
