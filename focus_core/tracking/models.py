"""Models and backbones on their way into the registry and out of it, verified by digest each time.

Nothing is unpickled and no code is loaded from the store: a fetched model is two files, JSON and safetensors,
which the library itself reads. Knows neither champions nor records.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from focus_core.cubes.record import digest, local_path
from focus_core.cubes.remote import RemoteFolder, is_remote
from focus_core.errors import MissingInputError, ModelError
from focus_core.tracking.server import client, exclusive, experiment_id, reported, user
from focus_core.tracking.signature import metadata_of, signature_of
from focus_core.tracking.versions import (
    BACKBONE_MODEL,
    BACKBONE_TAG,
    SPEC_TAG,
    WEIGHTS_TAG,
    Version,
    checked_name,
    is_registry_uri,
    resolve,
    search,
)

if TYPE_CHECKING:
    from focus_core.model import ModelSpec

_CODE = Path(__file__).with_name("pyfunc.py")
_REQUIRED = ("focus-core", "mlflow", "numpy", "safetensors", "timm", "torch")
_BACKBONE_PATH = "backbone"


def register_backbone(folder: Path) -> str:
    """Register a backbone once; a second call with the same tensors finds the first one's version.

    Parameters
    ----------
    folder
        Backbone folder: ``backbone.json`` and ``backbone.safetensors``.

    Returns
    -------
    str
        ``models:/focus-backbone/<version>``.

    Raises
    ------
    MissingInputError
        If a file is missing.
    ModelError
        If what the store gives back is not what was sent.
    RegistryError
        If MLflow refuses.
    """
    digests = _digests(folder, _backbone_files())
    weights = digests[WEIGHTS_TAG]
    with exclusive(), reported(f"register the backbone '{folder}'"):
        known = [item for item in search(f"tags.`{WEIGHTS_TAG}` = '{weights}'") if item.name == BACKBONE_MODEL]
        if known:
            return known[0].uri
        api = client()
        run = api.create_run(experiment_id(BACKBONE_MODEL), tags={"mlflow.user": user()})
        for file in _backbone_files().values():
            api.log_artifact(run.info.run_id, str(folder / file), _BACKBONE_PATH)
        source = f"{run.info.artifact_uri}/{_BACKBONE_PATH}"
        _verify(_download(source), _backbone_files(), digests, source)
        number = _register(api, BACKBONE_MODEL, source, run.info.run_id, None, digests)
        api.set_terminated(run.info.run_id, "FINISHED")
        return f"models:/{BACKBONE_MODEL}/{number}"


def log_model(folder: Path, *, run_id: str, name: str) -> int:
    """Log a model folder to a run and register it as a new version.

    It is logged as an MLflow ``PythonModel``: its code is this package's, its weights are safetensors, its
    signature leaves number and size of windows free and fixes the number of bands.

    Parameters
    ----------
    folder
        Model folder: ``focus.json`` and ``focus.safetensors``.
    run_id
        The run that trained it.
    name
        Name of the registered model.

    Returns
    -------
    int
        Number of the new version.

    Raises
    ------
    MissingInputError
        If a file is missing.
    ModelError
        If ``focus.json`` is not a model's, or the store gives back other content than was sent.
    RegistryError
        If MLflow refuses.
    """
    from focus_core.model import read_spec

    checked_name(name)
    spec = read_spec(folder)
    digests = _digests(folder, _model_files()) | {BACKBONE_TAG: spec.backbone.sha256}
    with reported(f"log the model '{folder}' to the run {run_id}"):
        api = client()
        model_id, source = _log(api, folder, spec, digests, run_id, name)
        # Read back before it is registered: a store that loses content reports success all the same.
        _verify(_download(f"{source}/artifacts"), _model_files(), digests, source)
        return _register(api, name, f"models:/{model_id}", run_id, model_id, digests)


def fetch_model(uri: str) -> Path:
    """Return a local model folder: ``focus.json`` and ``focus.safetensors``.

    Parameters
    ----------
    uri
        A model folder, returned as it is or copied from S3, or ``models:/<name>@champion`` or
        ``models:/<name>/<version>``.

    Returns
    -------
    Path
        The folder; read it only, it may be the store itself. A download lives as long as this process.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    RegistryError
        If there is no such version, or no champion.
    ModelError
        If the content is not what was registered.
    """
    if not is_registry_uri(uri):
        return _folder(uri, _model_files())
    return fetch_version(resolve(uri))


def fetch_version(found: Version) -> Path:
    """Return the local folder of a registered model, verified; see `fetch_model`."""
    return _fetch(found, "/artifacts", _model_files())


def fetch_backbone(uri: str) -> Path:
    """Return a local backbone folder: ``backbone.json`` and ``backbone.safetensors``.

    Parameters
    ----------
    uri
        A backbone folder, returned as it is or copied from S3, or ``models:/focus-backbone/<version>``.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    RegistryError
        If there is no such version.
    ModelError
        If the content is not what was registered.
    """
    if not is_registry_uri(uri):
        return _folder(uri, _backbone_files())
    return _fetch(resolve(uri), "", _backbone_files())


def _model_files() -> dict[str, str]:
    from focus_core.model.spec import SPEC_FILE
    from focus_core.model.weights import MODEL_WEIGHTS

    return {SPEC_TAG: SPEC_FILE, WEIGHTS_TAG: MODEL_WEIGHTS}


def _backbone_files() -> dict[str, str]:
    from focus_core.model.weights import BACKBONE_FILE, BACKBONE_WEIGHTS

    return {SPEC_TAG: BACKBONE_FILE, WEIGHTS_TAG: BACKBONE_WEIGHTS}


def _folder(uri: str, files: dict[str, str]) -> Path:
    folder = RemoteFolder(uri).fetch(_temporary()) if is_remote(uri) else local_path(uri)
    for file in files.values():
        if not (folder / file).is_file():
            raise MissingInputError(f"'{folder}' holds no {file}; give the folder that the step wrote")
    return folder


def _fetch(found: Version, below: str, files: dict[str, str]) -> Path:
    with reported(f"fetch {found.uri}"):
        source = client().get_model_version_download_uri(found.name, str(found.number))
        folder = _download(f"{source}{below}")
    return _verify(folder, files, dict(found.digests), found.uri)


def _digests(folder: Path, files: dict[str, str]) -> dict[str, str]:
    _folder(str(folder), files)
    return {tag: digest(folder / file) for tag, file in files.items()}


def _verify(folder: Path, files: dict[str, str], digests: dict[str, str], where: str) -> Path:
    for tag, file in files.items():
        path, expected = folder / file, digests.get(tag)
        found = digest(path) if path.is_file() else "none, the file is missing"
        if found != expected:
            raise ModelError(
                f"{where}: '{file}' has digest {found}, but {expected} was recorded when it was registered; "
                "it was changed or damaged in the store, so use another version"
            )
    return folder


def _download(uri: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if urlsplit(uri).scheme in ("", "file"):
        try:
            return Path(download_artifacts(artifact_uri=uri))
        except MlflowException as error:
            raise ModelError(f"the store has lost '{uri}': {error.message}; use another version") from error
    return Path(download_artifacts(artifact_uri=uri, dst_path=str(_temporary())))


def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="focus-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _register(api: Any, name: str, source: str, run_id: str, model_id: str | None, digests: dict[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    try:
        api.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return int(api.create_model_version(name, source, run_id, tags=digests, model_id=model_id).version)


def _log(api: Any, folder: Path, spec: ModelSpec, digests: dict[str, str], run_id: str, name: str) -> tuple[str, str]:
    """Log the folder as an MLflow model; return its id and where its files are."""
    files = _model_files()
    logged = api.create_logged_model(
        api.get_run(run_id).info.experiment_id,
        name=name.replace(".", "-"),  # a logged model's name may hold no dot, a registered one's may
        source_run_id=run_id,
        tags=digests,
    )
    with warnings.catch_warnings():
        # An example would be stored with the model and freeze one size of window; the signature says it all.
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        # MLflow says this of its own classes when it is imported.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)
        import mlflow.pyfunc
        from mlflow.models import Model

        Model.log(
            None,
            mlflow.pyfunc,
            run_id=run_id,
            model_id=logged.model_id,
            python_model=str(_CODE),
            artifacts={tag.split(".")[1]: str(folder / file) for tag, file in files.items()},
            signature=signature_of(spec),
            metadata=metadata_of(spec, digests),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _REQUIRED],
        )
    return logged.model_id, logged.artifact_location
