from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from focus_core.errors import MissingInputError, ModelError
from focus_core.model import (
    BACKBONE_WEIGHTS,
    MODEL_WEIGHTS,
    BackboneReference,
    Focus,
    ModelSpec,
    load_model,
    read_spec,
    save_backbone,
    save_model,
    sha256_of,
)
from tests.conftest import VIT


@pytest.fixture
def saved(
    tmp_path: Path, small_vit: Callable[..., VisionTransformer], small_model: Callable[..., Focus]
) -> tuple[Path, Path, Focus]:
    backbone, folder = tmp_path / "backbone", tmp_path / "focus"
    backbone.mkdir()
    folder.mkdir()
    save_backbone(small_vit(), VIT, "random", backbone)
    reference = BackboneReference(uri=str(backbone), sha256=sha256_of(backbone / BACKBONE_WEIGHTS), kind="random")
    model = small_model(backbone=reference)
    save_model(model, folder)
    return folder, backbone, model


def test_a_model_explains_alike_after_a_round_trip(saved: tuple[Path, Path, Focus], windows: torch.Tensor) -> None:
    folder, backbone, model = saved
    again = load_model(folder, backbone)
    assert again.spec == model.spec
    assert torch.equal(again.explain(windows).saliency, model.explain(windows).saliency)


def test_the_model_file_holds_no_backbone_tensor(saved: tuple[Path, Path, Focus]) -> None:
    folder, backbone, _ = saved
    own, frozen = load_file(folder / MODEL_WEIGHTS), load_file(backbone / BACKBONE_WEIGHTS)
    assert not set(own) & set(frozen)


def test_a_changed_backbone_is_refused(saved: tuple[Path, Path, Focus]) -> None:
    folder, backbone, _ = saved
    content = bytearray((backbone / BACKBONE_WEIGHTS).read_bytes())
    content[-1] ^= 1
    (backbone / BACKBONE_WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=r"has digest .* but the model was trained on"):
        load_model(folder, backbone)


def test_a_file_that_is_not_safetensors_is_refused(saved: tuple[Path, Path, Focus]) -> None:
    folder, backbone, _ = saved
    (folder / MODEL_WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_model(folder, backbone)


def test_weights_of_another_shape_are_refused(saved: tuple[Path, Path, Focus]) -> None:
    folder, backbone, _ = saved
    text = (folder / "focus.json").read_text().replace('"disease"', '"disease", "rust"')
    (folder / "focus.json").write_text(text)
    with pytest.raises(ModelError, match="does not fit"):
        load_model(folder, backbone)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"holds no focus\.json"):
        read_spec(tmp_path)


def test_other_wavelengths_are_refused_with_both_ranges(small_spec: Callable[..., ModelSpec]) -> None:
    spec = small_spec()
    with pytest.raises(ModelError, match=r"12 bands over 500\.0-1050\.0 nm.* 12 bands over 425\.0-975\.0 nm"):
        spec.check_input(np.linspace(500.0, 1050.0, 12), "reflectance", where="flight 2")


def test_another_quantity_is_refused(small_spec: Callable[..., ModelSpec]) -> None:
    spec = small_spec()
    with pytest.raises(ModelError, match="flight 2 holds radiance, but the model was trained on reflectance"):
        spec.check_input(np.asarray(spec.wavelength_nm), "radiance", where="flight 2")
