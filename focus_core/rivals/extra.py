"""The optional libraries that some rivals are computed with."""

from __future__ import annotations

import importlib
from typing import Any

from focus_core.errors import SettingsError


def import_extra(module: str) -> Any:
    """Import a module of the extra ``bench``.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"this rival needs the package '{module}', which is not installed; "
            "install the extra: pip install 'focus-core[bench]'"
        ) from error
