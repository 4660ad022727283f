"""FOCUS from Python: load a model, explain a cube, look at curves and saliency; nothing here asks for torch."""

from focus_core.api.accessor import FocusAccessor
from focus_core.api.loaded import LoadedModel, load

__all__ = ["FocusAccessor", "LoadedModel", "load"]
