"""Do something again and again beside a block of code: signs of life, word that something is waited for."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(action: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Call ``action`` every ``every_s`` seconds on a thread of its own while the block runs, not at its start.

    The last call has returned when the block is left. An exception that ``action`` raises ends the calls.
    """
    over = threading.Event()

    def run() -> None:
        while not over.wait(every_s):
            action()

    # What is logged there is about the same run.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
