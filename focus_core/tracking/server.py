"""Where MLflow is: one URI for tracking and registry, telemetry off, one writer of the registry at a time.

Knows URIs, experiments and the lock; does not know what is logged.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from focus_core.errors import RegistryError, SettingsError, TargetError
from focus_core.repeat import repeated

_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_LOCK_SECONDS = 300.0
_POLL_SECONDS = 0.02
_TELL_SECONDS = 10.0

logger = logging.getLogger(__name__)


def configure(uri: str | None = None) -> str:
    """Say where runs, models and the audit trail are kept, and switch MLflow's telemetry off.

    The choice goes into the environment, so that worker processes make the same one.

    Parameters
    ----------
    uri
        ``sqlite:///<path>`` for a database file, with artifacts in a folder beside it, or the
        ``http(s)://`` address of an MLflow server. ``None``: the variable ``MLFLOW_TRACKING_URI``, else
        ``mlflow.db`` in the working directory.

    Returns
    -------
    str
        The URI in use; the path of a database is absolute.

    Raises
    ------
    SettingsError
        If the URI is of another kind; MLflow no longer keeps a registry in a folder of files.
    TargetError
        If the database's folder cannot be written.
    """
    resolved = _choose(uri)

    import mlflow

    mlflow.set_tracking_uri(resolved)
    mlflow.set_registry_uri(resolved)
    return resolved


def client() -> Any:
    """Return an ``MlflowClient`` for the place that `configure` chose, or would choose."""
    configure()
    from mlflow import MlflowClient

    return MlflowClient()


def experiment_id(name: str) -> str:
    """Return the id of an experiment, made where there is none."""
    from mlflow.exceptions import MlflowException

    api = client()
    found = api.get_experiment_by_name(name)
    if found is None:
        database = _database(os.environ[_URI])
        # Without a location MLflow would put artifacts below the working directory, wherever that is.
        location = None if database is None else (_artifacts(database) / name).as_uri()
        try:
            return str(api.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = api.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise RegistryError(f"the experiment '{name}' was deleted; restore it, or use another name")
    return str(found.experiment_id)


def user() -> str:
    """Return who is acting: the name used at the server, else the name on this machine."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def where() -> str:
    """Return the URI in use as it may be shown: without a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", configure())


@contextmanager
def reported(action: str) -> Iterator[None]:
    """Turn what MLflow raises into an error that says what was being done, and where.

    A server that is away, or whose database is, is asked again by MLflow's client: ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``
    times, which with its default are four minutes. That it is being waited for goes to the log.
    """
    place = where()
    from mlflow.exceptions import MlflowException

    try:
        with _told(action, place):
            yield
    except MlflowException as error:
        raise RegistryError(
            f"MLflow at {place} could not {action}: {error.message}; check that it runs, that "
            f"{_URI} names it and that you may do this"
        ) from error


@contextmanager
def _told(action: str, place: str) -> Iterator[None]:
    """Say every few seconds that a server is still being waited for."""
    if not place.startswith("http"):
        yield
        return
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

    started = time.monotonic()

    def tell() -> None:
        logger.warning(
            "MLflow at %s: trying to %s for %.0f s; while it does not answer it is asked again, %d times at most "
            "(MLFLOW_HTTP_REQUEST_MAX_RETRIES)",
            place,
            action,
            time.monotonic() - started,
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(),
        )

    with repeated(tell, every_s=_TELL_SECONDS):
        yield


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the registry's lock: promotions, rollbacks and deletions happen one after the other.

    The lock is a file beside the embedded database, so it covers every thread and process that can reach it,
    and a killed holder lets go. For a server it is a file of this user on this machine only: MLflow offers no
    comparison when an alias is moved. Two machines that promote in the same instant both write a record that
    names the same predecessor, and `audit` refuses such a trail; let one pipeline at a time promote there.

    Raises
    ------
    RegistryError
        If another process holds it for five minutes.
    """
    path = _lock_path(_choose(None))
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise TargetError(f"'{path}' cannot be written: {error}; make its folder writable") from error
    try:
        _wait(handle, path)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise RegistryError(
                    f"another process has held '{path}' for {_LOCK_SECONDS:.0f} s; see what it is doing"
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _choose(uri: str | None) -> str:
    """Put the choice of place into the environment, before MLflow is imported."""
    # MLflow and whatever else heeds the common word; only "true" counts for MLflow.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar per tiny file
    resolved = _resolved(uri or os.environ.get(_URI) or f"{_SQLITE}{Path.cwd() / 'mlflow.db'}")
    os.environ[_URI] = resolved
    return resolved


def _resolved(uri: str) -> str:
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/")
    path = uri.removeprefix(_SQLITE)
    if not uri.startswith(_SQLITE) or not path or "?" in path or ":memory:" in path:
        raise SettingsError(
            f"the tracking URI '{uri}' is not supported: give sqlite:///<path of a database file> or the "
            "http(s):// address of an MLflow server (folders of files have no model registry any more)"
        )
    database = Path(path).absolute()
    # Checked here, because MLflow retries an unwritable database for minutes.
    if not os.access(database.parent, os.W_OK) or (database.exists() and not os.access(database, os.W_OK)):
        raise TargetError(f"'{database}' cannot be written; make its folder, or choose another database")
    return f"{_SQLITE}{database}"


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def _artifacts(database: Path) -> Path:
    return database.with_name(f"{database.stem}-artifacts")


def _lock_path(uri: str) -> Path:
    database = _database(uri)
    if database is not None:
        return database.with_name(f".{database.name}.lock")
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"focus-{os.getuid()}-{name}.lock"
