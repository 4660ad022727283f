from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from focus_core.errors import MissingInputError, ModelError
from focus_core.model import load_backbone, published_vit, save_backbone

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the layout in which the model's weights are published: 224 px and a head of 1000 classes."""
    path = tmp_path_factory.mktemp("published") / "model.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model(NAME).state_dict(), path)
    return path


def test_published_weights_come_from_a_local_file_and_survive_a_round_trip(weights: Path, tmp_path: Path) -> None:
    vit = published_vit(NAME, {"img_size": 32}, weights=weights)
    torch.manual_seed(5)
    original = timm.create_model(NAME)
    assert torch.equal(vit.blocks[3].mlp.fc1.weight, original.blocks[3].mlp.fc1.weight)
    assert vit.pos_embed.shape[1] == 1 + 4
    save_backbone(vit, {"img_size": 32}, "pretrained", tmp_path, timm_name=NAME)
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(
        load_backbone(tmp_path).eval().forward_features(images), vit.eval().forward_features(images)
    )


def test_a_mistyped_name_is_answered_with_names_like_it(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'vit_tiny_patch16_225'; near it: .*vit_tiny_patch16_224"):
        published_vit("vit_tiny_patch16_225", {"img_size": 32}, weights=weights)


def test_weights_of_another_model_are_refused(weights: Path) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        published_vit("vit_small_patch16_224", {"img_size": 32}, weights=weights)


def test_a_published_model_without_read_only_rows_is_refused_before_its_weights_are_read(weights: Path) -> None:
    with pytest.raises(ModelError, match="ConvNeXt is not supported"):
        published_vit("convnext_atto", {}, weights=weights)


def test_a_pickled_checkpoint_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        published_vit(NAME, {"img_size": 32}, weights=path)
    with pytest.raises(MissingInputError, match="do not exist"):
        published_vit(NAME, {"img_size": 32}, weights=tmp_path / "absent.safetensors")
