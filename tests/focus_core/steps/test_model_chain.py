"""pretrain, train, evaluate and explain on a planted campaign, with a real registry."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

from focus_core import tracking
from focus_core.config import EvaluateSettings, ExplainSettings, PretrainSettings, PromoteSettings
from focus_core.cubes.record import digest, record
from focus_core.cubes.schema import TILES
from focus_core.errors import CampaignError, ModelError, SettingsError
from focus_core.model import BACKBONE_WEIGHTS, MODEL_WEIGHTS, read_backbone, read_spec
from focus_core.steps.evaluate import evaluate
from focus_core.steps.explain import explain
from focus_core.steps.pretrain import pretrain
from focus_core.steps.promote import promote
from focus_core.steps.train import train
from tests.focus_core.steps.planted import PRETRAIN, TRAIN, publish_store, tiles, write_stores

SUPERVISED = PRETRAIN.model_copy(update={"method": "supervised", "epochs": 12})


@dataclass(frozen=True)
class Chain:
    """Where the stores of a trained chain lie."""

    folder: Path
    tiles: str
    reference: str
    backbone: str
    model: str


@pytest.fixture(scope="module")
def chain(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    database = folder / "mlflow.db"
    database.write_bytes(migrated_database.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        tracking.configure()
        tiles_uri, reference_uri = write_stores(folder)
        found = Chain(folder, tiles_uri, reference_uri, str(folder / "backbone"), str(folder / "focus"))
        pretrain(found.tiles, found.backbone, settings=PRETRAIN)
        train(found.tiles, found.backbone, found.model, settings=TRAIN)
        yield found


@pytest.fixture(scope="module")
def scores(chain: Chain) -> dict[str, float]:
    return evaluate(
        chain.tiles, chain.model, chain.reference, str(chain.folder / "evaluation"), settings=EvaluateSettings()
    )


def test_held_out_plots_are_told_apart(scores: dict[str, float]) -> None:
    assert scores["test.plots"] == 18
    assert scores["test.balanced_accuracy"] >= 0.8
    assert (
        scores["test.balanced_accuracy.lo"] <= scores["test.balanced_accuracy"] <= scores["test.balanced_accuracy.hi"]
    )


def test_curves_lie_on_the_planted_bands(scores: dict[str, float]) -> None:
    for name in ("drought", "disease"):
        assert scores[f"test.band_iou.{name}"] == pytest.approx(1.0)
        assert scores[f"test.band_iou_ceiling.{name}"] == pytest.approx(1.0)
        assert scores[f"test.mass_over_chance.{name}"] > 2.5


def test_saliency_lies_in_the_planted_half_of_the_window(scores: dict[str, float]) -> None:
    for name in ("drought", "disease"):
        assert 0.8 < scores[f"test.spatial_auc.{name}"] <= scores[f"test.spatial_auc_ceiling.{name}"] < 1.0
        assert scores[f"test.spatial_pointing.{name}"] > 0.6
        assert scores[f"test.spatial_ap.{name}"] > scores[f"test.spatial_auc.{name}"] / 2


def test_noise_holds_next_to_nothing(scores: dict[str, float]) -> None:
    assert scores["test.null_share"] <= 0.02


def test_exact_checks_hold(scores: dict[str, float]) -> None:
    assert scores["swap_other_evidence"] == 0.0
    assert scores["swap_logit_error"] < 1e-4


def test_metrics_are_logged_to_the_run_that_trained_the_model(chain: Chain, scores: dict[str, float]) -> None:
    import mlflow

    run = mlflow.get_run(read_spec(Path(chain.model)).run_id)
    assert run.data.metrics["gate.balanced_accuracy"] == scores["gate.balanced_accuracy"]
    written = json.loads((chain.folder / "evaluation" / "metrics.json").read_text())
    assert written == scores


def test_the_backbone_file_is_untouched_and_not_in_the_model(chain: Chain) -> None:
    recorded = read_spec(Path(chain.model)).backbone
    assert recorded.kind == "self-supervised"
    assert recorded.uri.startswith("models:/focus-backbone/")
    own = load_file(Path(chain.model) / "focus.safetensors")
    frozen = load_file(Path(chain.backbone) / BACKBONE_WEIGHTS)
    assert not set(own) & set(frozen)


@pytest.mark.parametrize("method", ["masked", "random"])
def test_without_supervision_labels_are_not_opened(chain: Chain, tmp_path: Path, method: str) -> None:
    unreadable = _with_unreadable_labels(tmp_path / "tiles.zarr")
    settings = PRETRAIN.model_copy(update={"method": method})
    for uri, name in ((chain.tiles, "left"), (unreadable, "right")):
        pretrain(uri, str(tmp_path / name), settings=settings)
    left, right = (load_file(tmp_path / name / BACKBONE_WEIGHTS) for name in ("left", "right"))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_supervised_backbone_opens_labels_and_is_called_so(chain: Chain, tmp_path: Path) -> None:
    found = pretrain(chain.tiles, str(tmp_path / "backbone"), settings=SUPERVISED)
    assert found["images"] == 4 * (tiles()["fold"] == "train").sum()
    assert found["loss"] < 0.7 * np.log(3)
    assert read_backbone(tmp_path / "backbone")["kind"] == "supervised"
    with pytest.raises(ValueError, match="a chunk cannot be unpacked: Unknown frame descriptor"):
        pretrain(_with_unreadable_labels(tmp_path / "tiles.zarr"), str(tmp_path / "other"), settings=SUPERVISED)


@pytest.mark.parametrize("fold", ["gate", "test"])
def test_labels_of_held_out_plots_do_not_reach_a_supervised_backbone(chain: Chain, tmp_path: Path, fold: str) -> None:
    data = tiles()
    label = np.where(data["fold"].to_numpy() == fold, (data["label"].to_numpy() + 1) % 3, data["label"].to_numpy())
    other = publish_store(str(tmp_path / "tiles.zarr"), data.assign_coords(label=("tile", label)), TILES)
    short = SUPERVISED.model_copy(update={"epochs": 1})
    for uri, name in ((chain.tiles, "left"), (other, "right")):
        pretrain(uri, str(tmp_path / name), settings=short)
    left, right = (load_file(tmp_path / name / BACKBONE_WEIGHTS) for name in ("left", "right"))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_campaign_without_validation_plots_gives_no_supervised_backbone(tmp_path: Path) -> None:
    data = tiles()
    fold = np.where(data["fold"].to_numpy() == "validation", "train", data["fold"].to_numpy()).astype(object)
    other = publish_store(str(tmp_path / "tiles.zarr"), data.assign_coords(fold=("tile", fold)), TILES)
    with pytest.raises(CampaignError, match="no labelled tile in the fold 'validation'"):
        pretrain(other, str(tmp_path / "backbone"), settings=SUPERVISED)


def _with_unreadable_labels(folder: Path) -> str:
    """Publish the planted tiles, then spoil the chunks of their labels; return the URI."""
    uri = publish_store(str(folder), tiles(), TILES)
    chunks = [path for path in (folder / "label" / "c").rglob("*") if path.is_file()]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(b"not a chunk")
    return uri


def test_a_rerun_changes_nothing(chain: Chain) -> None:
    before = digest(chain.model)
    again = train(chain.tiles, chain.backbone, chain.model, settings=TRAIN)
    assert digest(chain.model) == before
    assert again == record(chain.model)["metrics"]


def test_the_champion_explains_every_tile_and_the_store_adds_up(chain: Chain, scores: dict[str, float]) -> None:
    promoted = promote(chain.model, settings=PromoteSettings(at_most={}))
    assert promoted["promoted"] == 1.0
    uri = str(chain.folder / "explanation.zarr")
    explain(chain.tiles, "models:/focus@champion", uri, settings=ExplainSettings(batch_tiles=16))
    found = xr.open_zarr(uri, consolidated=False)
    assert found.sizes["tile"] == 180
    total = found["importance"].sum("group") + found["bias"]
    np.testing.assert_allclose(total, found["logit"], atol=1e-4)
    np.testing.assert_allclose(found["saliency"].sum(("py", "px")), found["importance"], atol=1e-4)
    assert found.attrs["model_digest"]
    assert found["plot"].to_numpy().tolist() == tiles()["plot"].to_numpy().tolist()


def flown(chain: Chain, folder: Path, *, darker: float = 0.0) -> dict[str, float]:
    """Explain another flight over other plots of the planted kind; ``darker`` in the first wavelength group."""
    flight = tiles(seed=11).assign_attrs(campaign="later")
    flight["reflectance"][:, :3] -= darker
    uri = publish_store(str(folder / "tiles.zarr"), flight, TILES)
    return explain(uri, chain.model, str(folder / "explanation.zarr"), settings=ExplainSettings())


def test_explaining_says_how_far_a_flight_is_from_training(chain: Chain, tmp_path: Path) -> None:
    for name, darker in (("as", 0.0), ("darker", 0.04)):
        (tmp_path / name).mkdir()
        found = flown(chain, tmp_path / name, darker=darker)
        assert (found["drift.spectrum_p"] < 1e-6) == bool(darker)
        assert (found["drift.alarms"] >= 1) == bool(darker)
        assert record(tmp_path / name / "explanation.zarr")["metrics"] == found


def test_a_campaign_of_other_wavelengths_is_refused_with_both_ranges(chain: Chain, tmp_path: Path) -> None:
    data = tiles()
    shifted = data.assign_coords(wavelength=data["wavelength"] + 30.0)
    other = publish_store(str(tmp_path / "tiles.zarr"), shifted, TILES)
    with pytest.raises(ModelError, match=r"455\.0-1005\.0 nm.* 425\.0-975\.0 nm"):
        explain(other, chain.model, str(tmp_path / "explanation.zarr"), settings=ExplainSettings())
    assert list(tmp_path.iterdir()) == [tmp_path / "tiles.zarr"]


def test_a_campaign_without_validation_plots_cannot_train(chain: Chain, tmp_path: Path) -> None:
    data = tiles()
    fold = np.where(data["fold"].to_numpy() == "validation", "train", data["fold"].to_numpy()).astype(object)
    other = publish_store(str(tmp_path / "tiles.zarr"), data.assign_coords(fold=("tile", fold)), TILES)
    with pytest.raises(CampaignError, match="no labelled tile in the fold 'validation'"):
        train(other, chain.backbone, str(tmp_path / "focus"), settings=TRAIN)
    assert not (tmp_path / "focus").exists()


def test_more_parameters_than_the_cap_are_refused(chain: Chain, tmp_path: Path) -> None:
    capped = TRAIN.model_copy(update={"max_parameter_share": 0.01})
    with pytest.raises(SettingsError, match=r"max_parameter_share is 0\.01"):
        train(chain.tiles, chain.backbone, str(tmp_path / "focus"), settings=capped)


def test_a_patch_that_does_not_divide_the_input_is_refused(chain: Chain, tmp_path: Path) -> None:
    odd = PRETRAIN.model_copy(update={"backbone": PRETRAIN.backbone.model_copy(update={"patch_px": 5})})
    with pytest.raises(SettingsError, match="patches of 5 px do not divide the input of 12 px"):
        pretrain(chain.tiles, str(tmp_path / "backbone"), settings=odd)


def test_a_published_vit_from_a_local_file_is_trained_on_and_explains(chain: Chain, tmp_path: Path) -> None:
    name = "vit_small_patch16_dinov3"
    weights = tmp_path / "dinov3.safetensors"
    torch.manual_seed(3)
    save_file(timm.create_model(name).state_dict(), weights)
    uri = publish_store(str(tmp_path / "tiles.zarr"), tiles().assign_attrs(input_px=32), TILES)
    settings = PretrainSettings(method="published", timm_name=name, weights=str(weights))
    backbone, model = str(tmp_path / "backbone"), str(tmp_path / "focus")
    assert pretrain(uri, backbone, settings=settings)["parameters"] > 2e7
    train(uri, backbone, model, settings=TRAIN.model_copy(update={"epochs": 1, "model_name": "published"}))
    assert read_spec(Path(model)).backbone.kind == "pretrained"
    explain(uri, model, str(tmp_path / "explanation.zarr"), settings=ExplainSettings())
    found = xr.open_zarr(tmp_path / "explanation.zarr", consolidated=False)
    np.testing.assert_allclose(found["importance"].sum("group") + found["bias"], found["logit"], atol=1e-4)


def test_an_input_that_patches_do_not_fill_is_refused(chain: Chain, tmp_path: Path) -> None:
    settings = PretrainSettings(method="published", timm_name="vit_tiny_patch16_224")
    with pytest.raises(ModelError, match="patches of 16 px do not divide the input of 12 x 12 px"):
        pretrain(chain.tiles, str(tmp_path / "backbone"), settings=settings)


def test_a_backbone_from_the_registry_trains_the_same_model(chain: Chain, tmp_path: Path) -> None:
    registered = read_spec(Path(chain.model)).backbone
    model = str(tmp_path / "focus")
    train(chain.tiles, registered.uri, model, settings=TRAIN)
    assert read_spec(Path(model)).backbone == registered
    again, first = load_file(Path(model) / MODEL_WEIGHTS), load_file(Path(chain.model) / MODEL_WEIGHTS)
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_a_second_training_cuts_the_strongest_groups_and_still_adds_up(chain: Chain, tmp_path: Path) -> None:
    model, uri = str(tmp_path / "focus"), str(tmp_path / "explanation.zarr")
    finer = {"epochs": 2, "split_groups": 1, "split_nm": 50.0, "model_name": "finer"}
    train(chain.tiles, chain.backbone, model, settings=TRAIN.model_copy(update=finer))
    explain(chain.tiles, model, uri, settings=ExplainSettings())
    found = xr.open_zarr(uri, consolidated=False)
    before = read_spec(Path(chain.model)).groups
    assert len(before) < found.sizes["group"] <= len(before) + 2 * 2  # two stresses, groups of three bands
    assert (found["group_hi_nm"] - found["group_lo_nm"]).min() == 50.0
    np.testing.assert_allclose(found["importance"].sum("group") + found["bias"], found["logit"], atol=1e-4)


def test_a_champion_is_scored_on_the_gate_plots_of_whoever_challenges_it(
    chain: Chain, scores: dict[str, float], tmp_path: Path
) -> None:
    promote(chain.model, settings=PromoteSettings(at_most={}))
    challenger = str(tmp_path / "challenger")
    train(chain.tiles, chain.backbone, challenger, settings=TRAIN.model_copy(update={"seed": 5, "epochs": 2}))
    for _ in range(2):
        evaluate(chain.tiles, challenger, chain.reference, str(tmp_path / "scores"), settings=EvaluateSettings())
    number = tracking.find_version(challenger, name="focus").number
    found = tracking.compare(tracking.version("focus", number), tracking.version("focus", 1))
    assert found.same_plots
    assert found.champion is not None
    own = tracking.compare(tracking.version("focus", 1), None).challenger
    # One campaign, the same plots: the figures of its own evaluation, but for what its own promotion found.
    assert found.champion == {name: value for name, value in own.items() if not name.startswith("gate.drift.")}
    assert found.challenger["gate.plots"] == found.champion["gate.plots"]
