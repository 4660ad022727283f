"""YAML with the line of every key, so that a wrong value is reported where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from focus_core.errors import CampaignError, MissingInputError

_LONGEST = 60
"""Characters of a wrong value that are shown."""
_MOST_VALUES = 1_000_000
_SHAPES = {"string_type", "list_type", "dict_type", "model_type", "model_attributes_type", "tuple_type"}
"""Findings of a setting that has another form altogether."""


def told(finding: ErrorDetails) -> str:
    """Return what is wrong with a setting, what was found and what to do."""
    kind, message = finding["type"], finding["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return "no such setting; check the spelling"
    if kind == "missing":
        return "is missing; add it"
    if kind == "value_error":
        return message
    if kind in {"model_type", "model_attributes_type"}:
        message = "expected a mapping of settings"
    elif kind.startswith("date_"):
        message = "expected a day as in 2026-06-09"
    text = repr(finding["input"])
    return f"{message}, found {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}"


class YamlSource:
    """A parsed YAML file that remembers where each key stands.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    CampaignError
        If it is not YAML, holds a key twice, or is not a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise MissingInputError(f"{path}: no such campaign file; check the path") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CampaignError(f"{path}: cannot be read as UTF-8 text ({error})") from error
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                self._counted(node, {})
            self.data: Any = self._loaded(text, node)
        except RecursionError as error:
            raise CampaignError(f"{path}: nested too deep for a file of settings; correct it") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise CampaignError(f"{path}:{line}: not valid YAML: {error.problem}") from error
        except yaml.YAMLError as error:
            raise CampaignError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
        if not isinstance(node, yaml.MappingNode):
            raise CampaignError(f"{path}:1: expected a mapping of settings, found {type(self.data)}")
        self._root = node

    def line_of(self, location: Sequence[int | str]) -> int:
        """Return the 1-based line of a key path, or of its nearest enclosing key."""
        return self._place(location)[0]

    def error(self, location: Sequence[int | str], message: str) -> CampaignError:
        """Build an error that names file, line and key."""
        key = ".".join(str(step) for step in location)
        return CampaignError(f"{self.path}:{self.line_of(location)}: {key}: {message}")

    def errors(self, failure: ValidationError) -> CampaignError:
        """Turn every finding of a validation into one error, a line each."""
        found: dict[str, tuple[int | str, ...]] = {}
        shapes = set()
        for item in failure.errors():
            line, key = self._place(item["loc"])
            if item["type"] == "missing":
                key = (*key, item["loc"][-1])
            text = f"{self.path}:{line}: {'.'.join(map(str, key))}: {told(item)}"
            found[text] = key
            if item["type"] in _SHAPES:
                shapes.add(text)
        # Of a setting with several forms, pydantic also tells of those that were not meant.
        meant = [
            text for text in found if not (text in shapes and any(_below(key, found[text]) for key in found.values()))
        ]
        return CampaignError("\n".join(meant))

    def _place(self, location: Sequence[int | str]) -> tuple[int, tuple[int | str, ...]]:
        """Return the line of a key path, and the path without steps that are not keys: pydantic names forms too."""
        node: yaml.Node = self._root
        line, kept = node.start_mark.line, []
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
                if found is None:
                    continue
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                continue
            kept.append(step)
        return line + 1, tuple(kept)

    def _loaded(self, text: str, node: yaml.Node | None) -> Any:
        """Return the content; a value such as the date 2026-13-01 looks like one to YAML, and is none."""
        try:
            return yaml.safe_load(text)
        except ValueError as error:
            nodes = [node]
            for found in nodes:
                if isinstance(found, yaml.CollectionNode):
                    nodes += [part for item in found.value for part in (item if isinstance(item, tuple) else (item,))]
                elif isinstance(found, yaml.ScalarNode):
                    try:
                        yaml.constructor.SafeConstructor().construct_object(found)
                    except ValueError as why:
                        line = found.start_mark.line + 1
                        raise CampaignError(
                            f"{self.path}:{line}: '{found.value[:_LONGEST]}' is no value: {why}; correct it"
                        ) from error
            raise

    def _counted(self, node: yaml.Node, known: dict[int, int]) -> int:
        """Return how many values a node holds, aliases written out; refuse a key twice, and what has no end."""
        if id(node) in known:
            return known[id(node)]
        known[id(node)] = _MOST_VALUES  # until it is counted: an alias below stands in what it names
        total, seen = 1, set[str]()
        for item in node.value if isinstance(node, yaml.CollectionNode) else ():
            key, child = item if isinstance(node, yaml.MappingNode) else (None, item)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise CampaignError(f"{self.path}:{line}: the key '{key.value}' stands twice; keep one")
                seen.add(key.value)
            total += self._counted(child, known)
        if total >= _MOST_VALUES:
            line = node.start_mark.line + 1
            raise CampaignError(f"{self.path}:{line}: aliases make more than {_MOST_VALUES} values; write them out")
        known[id(node)] = total
        return total


def _below(key: Sequence[int | str], other: Sequence[int | str]) -> bool:
    return len(key) > len(other) and tuple(key[: len(other)]) == tuple(other)
