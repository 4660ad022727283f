"""YAML with the line of every key, so that a wrong value is reported where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from focus_core.errors import CampaignError, MissingInputError


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
            self._refuse_repeated_keys(node)
            self.data: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise CampaignError(f"{path}:{line}: not valid YAML: {error.problem}") from error
        if not isinstance(node, yaml.MappingNode):
            raise CampaignError(f"{path}:1: expected a mapping of settings, found {type(self.data)}")
        self._root = node

    def line_of(self, location: Sequence[int | str]) -> int:
        """Return the 1-based line of a key path, or of its nearest enclosing key."""
        node: yaml.Node = self._root
        line = node.start_mark.line
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(step)]
                if not found:
                    continue  # pydantic names union members and models too
                line = found[0][0].start_mark.line
                node = found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                if step >= len(node.value):
                    break
                node = node.value[step]
                line = node.start_mark.line
        return line + 1

    def error(self, location: Sequence[int | str], message: str) -> CampaignError:
        """Build an error that names file, line and key."""
        key = ".".join(str(step) for step in location)
        return CampaignError(f"{self.path}:{self.line_of(location)}: {key}: {message}")

    def errors(self, failure: ValidationError) -> CampaignError:
        """Turn every finding of a validation into one error, a line each."""
        lines = []
        for item in failure.errors():
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                message = "no such setting; check the spelling"
            elif item["type"] == "missing":
                message = "is missing; add it"
            lines.append(str(self.error(item["loc"], message)))
        return CampaignError("\n".join(dict.fromkeys(lines)))

    def _refuse_repeated_keys(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.SequenceNode):
            for child in node.value:
                self._refuse_repeated_keys(child)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, child in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise CampaignError(f"{self.path}:{line}: the key '{key.value}' stands twice; keep one")
                seen.add(key.value)
                self._refuse_repeated_keys(child)
