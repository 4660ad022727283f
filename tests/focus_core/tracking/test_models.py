import logging

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException

from focus_core import tracking
from focus_core.errors import MissingInputError, ModelError, RegistryError, SettingsError
from focus_core.model import load_model
from focus_core.tracking.server import client
from focus_core.tracking.versions import BACKBONE_TAG, WEIGHTS_TAG


@pytest.fixture
def logged(registry, model_folder):
    with tracking.logged_run("focus", parameters={}, tags={}, inputs={}) as run:
        folder = model_folder(run.run_id)
        number = tracking.log_model(folder, run_id=run.run_id, name="focus")
    return folder, number


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_backbone_is_registered_once(registry, backbone_folder):
    first = tracking.register_backbone(backbone_folder)
    assert first == "models:/focus-backbone/1"
    assert tracking.register_backbone(backbone_folder) == first
    fetched = tracking.fetch_backbone(first)
    assert fetched != backbone_folder
    for name in ("backbone.json", "backbone.safetensors"):
        assert (fetched / name).read_bytes() == (backbone_folder / name).read_bytes()


def test_a_model_comes_back_as_it_was(logged, backbone_folder, windows):
    folder, number = logged
    assert number == 1
    client().set_registered_model_alias("focus", "champion", "1")
    fetched = tracking.fetch_model("models:/focus@champion")
    assert fetched == tracking.fetch_model("models:/focus/1")
    before, after = (load_model(path, backbone_folder).explain(windows) for path in (folder, fetched))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_folder_is_its_own_address(logged, backbone_folder, tmp_path):
    folder, _ = logged
    assert tracking.fetch_model(str(folder)) == folder
    assert tracking.fetch_backbone(str(backbone_folder)) == backbone_folder
    with pytest.raises(MissingInputError, match=r"holds no focus\.json"):
        tracking.fetch_model(str(tmp_path / "absent"))
    with pytest.raises(MissingInputError, match=r"holds no backbone\.json"):
        tracking.register_backbone(folder)


def test_it_holds_no_pickle_and_says_what_it_was_made_for(logged, small_spec):
    fetched = tracking.fetch_model("models:/focus/1")
    files = {path.name for path in fetched.parent.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc.py", "focus.json", "focus.safetensors"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    info = mlflow.models.get_model_info("models:/focus/1")
    assert info.metadata["wavelength_nm"] == list(small_spec().wavelength_nm)
    assert [group["name"] for group in info.metadata["groups"]] == ["g0", "g1", "g2", "g3"]
    assert info.metadata["classes"] == ["control", "drought", "disease"]
    requirements = (fetched.parent / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} >= {"torch", "timm", "mlflow", "focus-core"}
    assert all("==" in line for line in requirements)


@pytest.mark.parametrize("size_px", [12, 20])
def test_mlflow_serves_it_for_any_size_of_window(logged, backbone_folder, windows, size_px, caplog):
    folder, _ = logged
    pixels = np.pad(windows.numpy(), ((0, 0), (0, 0), (0, size_px - 12), (0, size_px - 12)), "wrap")
    with caplog.at_level(logging.WARNING, logger="mlflow"):
        found = mlflow.pyfunc.load_model("models:/focus/1").predict(pixels)
    expected = load_model(folder, backbone_folder).explain(torch.from_numpy(pixels))
    assert list(found) == ["logit", "probability", "importance", "evidence", "sink_share", "saliency"]
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, getattr(expected, name).numpy(), rtol=1e-5, atol=1e-6)
    assert not caplog.records


def test_many_windows_are_split_without_a_seam(logged, windows):
    served = mlflow.pyfunc.load_model("models:/focus/1")
    many = np.concatenate([windows.numpy()] * 5)
    found = served.predict(many)["importance"]
    np.testing.assert_allclose(found[:5], found[20:], rtol=1e-5, atol=1e-6)
    assert len(found) == 25


def test_the_signature_refuses_another_number_of_bands_and_another_type(logged, windows):
    served = mlflow.pyfunc.load_model("models:/focus/1")
    with pytest.raises(MlflowException, match="shape"):
        served.predict(windows.numpy()[:, :11])
    with pytest.raises(MlflowException, match="float64"):
        served.predict(windows.numpy().astype(np.float64))


@pytest.mark.parametrize("name", ["focus.safetensors", "focus.json"])
def test_one_changed_byte_in_the_store_is_refused(logged, name):
    flip_a_byte(tracking.fetch_model("models:/focus/1") / name)
    with pytest.raises(ModelError, match=rf"models:/focus/1: '{name}' has digest [0-9a-f]{{64}}, but [0-9a-f]{{64}}"):
        tracking.fetch_model("models:/focus/1")
    with pytest.raises(ModelError, match="has digest"):
        mlflow.pyfunc.load_model("models:/focus/1")


def test_a_changed_backbone_is_refused(logged, backbone_folder):
    flip_a_byte(tracking.fetch_backbone("models:/focus-backbone/1") / "backbone.safetensors")
    with pytest.raises(ModelError, match=r"models:/focus-backbone/1: 'backbone.safetensors' has digest"):
        tracking.fetch_backbone("models:/focus-backbone/1")
    with pytest.raises(ModelError, match="has digest"):
        mlflow.pyfunc.load_model("models:/focus/1")


def test_a_file_lost_in_the_store_is_named(logged):
    (tracking.fetch_model("models:/focus/1") / "focus.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'focus.safetensors' has digest none, the file is missing"):
        tracking.fetch_model("models:/focus/1")


def test_what_does_not_exist_is_named_with_the_way_to_it(logged):
    with pytest.raises(RegistryError, match=r"'focus' has no champion; train one, then promote it.*/mlflow\.db holds"):
        tracking.fetch_model("models:/focus@champion")
    with pytest.raises(RegistryError, match="'absent' has no champion"):
        tracking.fetch_model("models:/absent@champion")
    with pytest.raises(
        RegistryError, match=r"'focus' has no version 7.* what sqlite:///.*/mlflow\.db holds; --tracking"
    ):
        tracking.fetch_model("models:/focus/7")
    for uri in ("models:/focus", "models:/focus@champion/../..", "models:/a' or '1'='1/3"):
        with pytest.raises(SettingsError, match="no model"):
            tracking.fetch_model(uri)


def test_versions_carry_digests_and_are_found_by_folder(logged, model_folder):
    folder, number = logged
    found = tracking.find_version(str(folder), name="focus")
    assert (found.number, found.uri) == (number, "models:/focus/1")
    assert found == tracking.resolve("models:/focus/1") == tracking.find_version("models:/focus/1", name="focus")
    assert found.digests[WEIGHTS_TAG] != found.digests[BACKBONE_TAG]
    with pytest.raises(RegistryError, match="'focus', expected one of 'other'"):
        tracking.find_version("models:/focus/1", name="other")
    with pytest.raises(RegistryError, match="is no registered version of 'other'"):
        tracking.find_version(str(folder), name="other")
    flip_a_byte(folder / "focus.safetensors")
    with pytest.raises(ModelError, match=r"has digest .* but its run .* registered"):
        tracking.find_version(str(folder), name="focus")
