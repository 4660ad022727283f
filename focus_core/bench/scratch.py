"""A folder in which a bench makes its flights, and which is removed again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from focus_core.errors import TargetError


@contextmanager
def scratch_folder(below: str | None) -> Iterator[Path]:
    """Lend an empty folder below one that is made where it is missing, or below the system's.

    Raises
    ------
    TargetError
        If it cannot be made.
    """
    try:
        if below is not None:
            Path(below).mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=below, prefix="focus-bench-")
    except OSError as error:
        raise TargetError(f"--scratch '{below}' cannot be written: {error}; choose another folder") from error
    with folder as name:
        yield Path(name)
