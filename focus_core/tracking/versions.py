"""Registered versions: which one a URI means, which one is champion, which one a folder was registered as.

Knows names, numbers and recorded digests; moves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from focus_core.cubes.record import digest, local_path
from focus_core.cubes.remote import RemoteFolder, is_remote
from focus_core.errors import ModelError, RegistryError, SettingsError
from focus_core.tracking.server import client, reported, where

CHAMPION = "champion"
BACKBONE_MODEL = "focus-backbone"
WEIGHTS_TAG = "focus.weights_sha256"
SPEC_TAG = "focus.spec_sha256"
BACKBONE_TAG = "focus.backbone_sha256"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str
    """The run that made it."""
    digests: Mapping[str, str]
    """Recorded sha256 of each file, and of the backbone's tensors, by tag."""
    aliases: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The URI that always means this version."""
        return f"models:/{self.name}/{self.number}"


def is_registry_uri(uri: str) -> bool:
    """Return whether a URI names a registered model rather than a folder."""
    return uri.startswith("models:")


def checked_name(name: str) -> str:
    """Return ``name`` if a model may bear it; it ends up in queries.

    Raises
    ------
    SettingsError
        If it may not.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"'{name}' is no model name: give a letter or digit, then at most 63 of letters, digits, '_.-'"
        )
    return name


def resolve(uri: str) -> Version:
    """Return the version that ``models:/<name>/<version>`` or ``models:/<name>@<alias>`` means now.

    Raises
    ------
    RegistryError
        If there is none; for a missing champion the message says how one is made.
    SettingsError
        If the URI is of another form.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise SettingsError(f"'{uri}' names no model; give models:/<name>@{CHAMPION} or models:/<name>/<version>")
    name, alias = checked_name(match["name"]), match["alias"]
    if alias is not None:
        number = _aliases(name).get(alias)
        if number is None:
            raise RegistryError(
                f"the model '{name}' has no {alias}; train one, then promote it: focus promote <model folder>"
                f"{_looked_in()}"
            )
        return version(name, number)
    return version(name, int(match["version"]))


def version(name: str, number: int) -> Version:
    """Return one version of a model.

    Raises
    ------
    RegistryError
        If there is no such version.
    """
    found = _find(name, number)
    if found is None:
        raise RegistryError(
            f"the model '{name}' has no version {number}; 'focus audit' lists what was promoted{_looked_in()}"
        )
    return found


def exists(name: str, number: int) -> bool:
    """Return whether a version is still registered."""
    return _find(name, number) is not None


def champion(name: str) -> int | None:
    """Return the number of the version that bears the alias ``champion``; ``None`` without one."""
    return _aliases(checked_name(name)).get(CHAMPION)


def find_version(model_uri: str, *, name: str) -> Version:
    """Return the registered version of a model folder, or the one that a registry URI means.

    Parameters
    ----------
    model_uri
        A model folder that ``train`` wrote, or ``models:/…``.
    name
        Name of the registered model that it must be a version of.

    Raises
    ------
    RegistryError
        If the folder was never registered under this name.
    ModelError
        If the folder's run registered a version, but with other content.
    """
    if is_registry_uri(model_uri):
        found = resolve(model_uri)
        if found.name != name:
            raise RegistryError(f"'{model_uri}' is a version of '{found.name}', expected one of '{name}'")
        return found
    from focus_core.model import MODEL_WEIGHTS, read_spec

    with RemoteFolder(model_uri).fetched() if is_remote(model_uri) else nullcontext(local_path(model_uri)) as folder:
        run_id = read_spec(folder).run_id
        own = digest(folder / MODEL_WEIGHTS)
    registered = [item for item in of_run(run_id) if item.name == checked_name(name)]
    matching = [item for item in registered if item.digests.get(WEIGHTS_TAG) == own]
    if matching:
        return max(matching, key=lambda item: item.number)
    if registered:
        raise ModelError(
            f"'{model_uri}': {MODEL_WEIGHTS} has digest {own}, but its run {run_id} registered "
            f"{registered[0].digests.get(WEIGHTS_TAG)}; train again, or promote {registered[0].uri}"
        )
    raise RegistryError(f"'{model_uri}' (run {run_id}) is no registered version of '{name}'; run 'train' first")


def search(filter_string: str) -> list[Version]:
    """Return every version that a filter finds; its literals must be checked by the caller."""
    with reported("search the registered models"):
        api, found, token = client(), [], None
        while True:
            page = api.search_model_versions(filter_string, page_token=token)
            found += [_version(item) for item in page]
            token = page.token
            if not token:
                return found


def of_run(run_id: str | None) -> list[Version]:
    """Return the versions that a run registered."""
    if run_id is None or not _RUN_ID.fullmatch(run_id):
        return []
    return search(f"run_id = '{run_id}'")


def _looked_in() -> str:
    """Say which registry was asked: of a mistyped one, which MLflow makes at once, everything is missing."""
    return f". That is what {where()} holds; --tracking, tracking_uri or MLFLOW_TRACKING_URI name another"


def _find(name: str, number: int) -> Version | None:
    from mlflow.exceptions import MlflowException

    with reported(f"look up version {number} of '{name}'"):
        try:
            return _version(client().get_model_version(checked_name(name), str(number)))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def _aliases(name: str) -> dict[str, int]:
    """Return the aliases of a model; a server gives version numbers as text, a database as integers."""
    from mlflow.exceptions import MlflowException

    with reported(f"look up the model '{name}'"):
        try:
            aliases = client().get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: int(number) for alias, number in aliases.items()}


def _version(found: Any) -> Version:
    return Version(
        name=found.name,
        number=int(found.version),
        run_id=found.run_id or "",
        digests={tag: found.tags[tag] for tag in (WEIGHTS_TAG, SPEC_TAG, BACKBONE_TAG) if tag in found.tags},
        aliases=tuple(found.aliases),
    )
