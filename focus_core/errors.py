"""The errors a user can cause; each says what was expected, what was found and what to do.

Every class is also the nearest builtin, so that callers who know nothing of this project still catch it.
"""


class FocusError(Exception):
    """Base of every error that this project raises on purpose; the command line prints it without a traceback."""


class CampaignError(FocusError, ValueError):
    """A campaign file, or something that it names, is wrong."""


class CubeError(FocusError, ValueError):
    """A raw hyperspectral file contradicts itself, its header or the campaign file."""


class StoreError(FocusError, ValueError):
    """A Zarr store breaks its schema."""


class MissingInputError(FocusError, FileNotFoundError):
    """A file or store that a step reads does not exist."""


class TargetError(FocusError, OSError):
    """A target cannot be written, or another writer holds it."""


class BusyError(TargetError):
    """Another writer holds a target, or changed it meanwhile; waiting helps."""


class ModelError(FocusError, ValueError):
    """A backbone or model cannot be used as asked: unsupported, of other wavelengths, or with another digest."""


class RegistryError(FocusError, RuntimeError):
    """The model registry refuses: a gate not passed, no champion, a version still in use."""


class SettingsError(FocusError, ValueError):
    """A setting is unknown or out of range."""


class FlightsError(FocusError, RuntimeError):
    """Flights of a season could not be explained."""


class NotifyError(FocusError, ConnectionError):
    """A message could not be handed over."""
