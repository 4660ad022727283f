"""What strangers hand over is data: no pickle, no shell; no secret in the tree; every dependency pinned by hash."""

import ast
import json
import os
import pickle
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store
from focus_core.errors import FocusError, ModelError
from focus_core.model import BACKBONE_WEIGHTS, MODEL_WEIGHTS, load_backbone, load_model

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("focus_core", "components", "pipelines") for path in (ROOT / folder).rglob("*.py"))
LOCKS = [ROOT / "requirements" / "base.txt", ROOT / "requirements" / "torch.txt"]
UNPICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"}
READS_PICKLES = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"}
NO_SECRETS = {
    # Examples of an address, names of secrets, a digest, and words that tests look for in messages.
    "focus_core/steps/notify.py": {"Basic Auth Credentials"},
    "infra/README.md": {"Basic Auth Credentials", "Secret Keyword"},
    "infra/base/mlflow.yaml": {"Secret Keyword"},
    "infra/base/placement.yaml": {"Secret Keyword"},
    "infra/overlays/development/placement.yaml": {"Secret Keyword"},
    "infra/overlays/production/placement.yaml": {"Secret Keyword"},
    "tests/focus_core/cubes/test_publish.py": {"Hex High Entropy String"},
    "tests/focus_core/steps/test_notify.py": {"Basic Auth Credentials"},
    "tests/focus_core/tracking/test_http.py": {"Secret Keyword", "Basic Auth Credentials"},
    "tests/pipelines/test_compile.py": {"Secret Keyword"},
    "tests/pipelines/test_ledger.py": {"Basic Auth Credentials"},
}


class Trap:
    """Leaves a folder where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.fixture
def trap(tmp_path):
    """A pickle, and the folder that shows that somebody loaded it."""
    sprung = tmp_path / "sprung"
    payload = pickle.dumps(Trap(sprung))
    pickle.loads(payload)
    assert sprung.exists()  # it would work
    sprung.rmdir()
    return payload, sprung


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_runs_text_or_starts_a_shell(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in UNPICKLES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in UNPICKLES else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in RUNS_TEXT | READS_PICKLES else []
            found += [f"{name}: {keyword.arg}" for keyword in node.keywords if keyword.arg in {"shell", "allow_pickle"}]
    assert found == []


@pytest.mark.parametrize("weights", [MODEL_WEIGHTS, BACKBONE_WEIGHTS])
def test_a_pickle_in_the_place_of_weights_is_refused_unread(weights, trap, small_model, small_vit, tmp_path):
    from focus_core.model import save_backbone, save_model
    from tests.conftest import VIT

    payload, sprung = trap
    model, backbone = tmp_path / "model", tmp_path / "backbone"
    for folder in (model, backbone):
        folder.mkdir()
    save_model(small_model(), model)
    save_backbone(small_vit(), VIT, "random", backbone)
    (model if weights == MODEL_WEIGHTS else backbone).joinpath(weights).write_bytes(payload)
    with pytest.raises(ModelError, match=r"is not a safetensors file|has digest"):
        load_model(model, backbone) if weights == MODEL_WEIGHTS else load_backbone(backbone)
    assert not sprung.exists()


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle"])
def test_a_store_that_names_a_pickle_codec_is_refused_unread(codec, trap, tmp_path):
    payload, sprung = trap
    path = tmp_path / "cube.zarr"
    group = zarr.create_group(path, zarr_format=3)
    group.create_array(
        "reflectance", shape=(1, 2, 2), chunks=(1, 2, 2), dtype="int16", dimension_names=("band", "y", "x")
    )
    described = json.loads((path / "reflectance" / "zarr.json").read_text())
    described["codecs"] = [{"name": codec, "configuration": {"id": "pickle"}}]
    (path / "reflectance" / "zarr.json").write_text(json.dumps(described))
    chunk = path / "reflectance" / "c" / "0" / "0" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(payload)
    with pytest.raises(FocusError):
        open_store(path, CUBE)["reflectance"].compute()
    assert not sprung.exists()


def test_a_store_of_the_old_format_with_pickled_objects_is_refused_unread(trap, tmp_path):
    payload, sprung = trap
    path = tmp_path / "cube.zarr"
    (path / "reflectance").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    described = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "filters": [{"id": "pickle"}]}
    described |= {"compressor": None, "fill_value": None, "order": "C"}
    (path / "reflectance" / ".zarray").write_text(json.dumps(described))
    (path / "reflectance" / "0").write_bytes(payload)
    with pytest.raises(FocusError):
        open_store(path, CUBE)
    assert not sprung.exists()


def test_a_matlab_file_of_objects_is_refused_unread(trap, tmp_path):
    from focus_core.cubes.readers import open_layer

    payload, sprung = trap
    np.save(tmp_path / "labels.npy", np.frombuffer(payload, dtype=np.uint8))
    (tmp_path / "labels.mat").write_bytes(payload)
    for name in ("labels.npy", "labels.mat"):
        with pytest.raises(FocusError):
            open_layer(tmp_path / name, None)
    assert not sprung.exists()


def test_no_secret_is_in_the_tree():
    """The lock files are full of digests and left out; what else looks like a secret is known by file and kind."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    left_out = {str(path.relative_to(ROOT)) for path in LOCKS}
    names = [name for name in listed.stdout.split("\0") if name and name not in left_out and (ROOT / name).is_file()]
    found = SecretsCollection(root=str(ROOT))
    with default_settings():
        for name in names:
            if not name.endswith((".png", ".ipynb")):
                found.scan_file(name)
    new = {
        name: {secret.type for secret in secrets} - NO_SECRETS.get(name, set()) for name, secrets in found.data.items()
    }
    assert {name: kinds for name, kinds in new.items() if kinds} == {}


def test_the_secret_scan_finds_one(tmp_path):
    key = "AKIA" + "IOSFODNN7" + "EXAMPLE"
    (tmp_path / "settings.py").write_text(f'aws_access_key_id = "{key}"\n')
    found = SecretsCollection(root=str(tmp_path))
    with default_settings():
        found.scan_file("settings.py")
    assert found.data


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_dependency_is_one_version_with_its_hashes(lock):
    """Whether a version is yanked or has a known flaw, only a service can say: ask `pip-audit` where there is one."""
    text = "\n".join(line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    entries = re.sub(r"\\\n", " ", text).splitlines()
    assert entries
    for entry in filter(None, entries):
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[\w.+!]+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+$", entry), entry[:80]
    names = [entry.split("==")[0] for entry in entries if entry]
    pins = {entry.split(" --hash")[0] for entry in entries if entry}
    assert len(pins) == len(names)
