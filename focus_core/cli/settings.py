"""Settings from a YAML file and from ``--set``. Knows their syntax; ``config`` knows which exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from focus_core.errors import MissingInputError, SettingsError

if TYPE_CHECKING:
    from focus_core.config import Settings

AnySettings = TypeVar("AnySettings", bound="Settings")


def read_settings(kind: type[AnySettings], file: str | None, assignments: Sequence[str]) -> AnySettings:
    """Build settings from a YAML file, then from ``key=value`` texts in their order.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    SettingsError
        If the file or a text is not what it should be, or a setting is unknown or out of range.
    """
    from focus_core.config import from_mapping

    values = _read_file(file) if file else {}
    for text in assignments:
        _assign(kind, values, text)
    return from_mapping(kind, values)


def _read_file(file: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"{file}: no such settings file; check the path") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: not a readable YAML file: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{file}: expected a mapping of settings, found {type(values).__name__}")
    return values


def _assign(kind: type[Settings], values: dict[str, Any], text: str) -> None:
    """Put one ``key=value`` into ``values``.

    A dotted key descends while the field is itself settings; below a field that maps names to numbers the rest
    of the key is the name (``at_least.gate.balanced_accuracy``), added to the names that stand there already.
    """
    import yaml

    from focus_core.config import Settings

    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set '{text}': expected KEY=VALUE, as in --set epochs=10")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set '{text}': the value is not YAML: {error}") from error
    target, rest = values, key
    while "." in rest:
        name, rest = rest.split(".", 1)
        field = kind.model_fields.get(name)
        inner = field.annotation if field else None
        default = field.get_default(call_default_factory=True) if field else None
        target = target.setdefault(name, dict(default) if isinstance(default, dict) else {})
        if not isinstance(target, dict):
            raise SettingsError(f"--set '{text}': '{name}' holds a single value; write --set {name}=VALUE")
        if not (isinstance(inner, type) and issubclass(inner, Settings)):
            break
        kind = inner
    target[rest] = value
