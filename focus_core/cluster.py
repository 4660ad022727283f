"""Where Dask graphs are computed: on this machine's threads, or at a scheduler's address.

Knows nothing of what is computed. Workers at an address must see the stores under the same paths as this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dask
from dask.system import CPU_COUNT

from focus_core.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_SECONDS = 10


@contextmanager
def dask_client(address: str | None) -> Iterator[Client | None]:
    """Make every Dask computation inside the block run in one place.

    Parameters
    ----------
    address
        Address of a Dask scheduler, e.g. ``tcp://scheduler:8786``; ``None`` runs on this machine's threads.

    Yields
    ------
    Client or None
        The client of the scheduler; ``None`` on threads.

    Raises
    ------
    SettingsError
        If no scheduler answers at the address.
    """
    if address is None:
        with dask.config.set(scheduler="threads", num_workers=available_cpus()):
            yield None
        return
    from distributed import Client

    try:
        # As a default, a client that never connected would stay the place of every later computation.
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"dask_scheduler: no Dask scheduler answers at '{address}' ({error}); start it, correct the address, or "
            "leave the setting out to run on this machine"
        ) from error
    with client, client.as_current(), dask.config.set(scheduler=client):
        yield client


def available_cpus() -> int:
    """Return how many cores this process may use; a container's limit counts."""
    return int(CPU_COUNT)
