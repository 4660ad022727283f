"""FOCUS: which wavelengths told a frozen Vision Transformer so.

Importing this package loads none of torch, mlflow or kfp; `load` does when it is first asked for, and gives xarray's
datasets the accessor ``focus``. Without a model, ``import focus_core.api`` gives it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from focus_core.api import load

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("focus_core.api").load
    raise AttributeError(f"module 'focus_core' has no attribute '{name}'")
