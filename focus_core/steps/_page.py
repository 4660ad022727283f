"""Pages appear whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from focus_core.errors import TargetError


def write_page(text: str, target: Path) -> None:
    """Write under a temporary name beside the target, then take its name.

    Raises
    ------
    TargetError
        If it cannot be written; an earlier page is left as it was.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise TargetError(f"'{target}' cannot be written: {error}; choose another path") from error
