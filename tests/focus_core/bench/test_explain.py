import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from focus_core.bench import explain
from focus_core.bench.chart import draw_ratios
from focus_core.bench.flops import explain_flops, pass_flops, token_per_band_flops
from focus_core.bench.timing import paired_ratios
from focus_core.errors import SettingsError, TargetError
from focus_core.model import Focus

MEASURES = ("overhead_time", "time_over_one_image", "overhead_memory", "flops_over_token_per_band")
RIVALS = ("gradcam", "eigencam", "integrated_gradients", "ablation", "occlusion", "rollout", "prompt_cam")
NAMES = {
    *(f"focus.{measure}.tiny.c{classes}" for measure in MEASURES for classes in (4, 32)),
    *(f"{rival}.{measure}.tiny.c4" for measure in ("overhead_time", "overhead_memory") for rival in RIVALS),
    "focus.cached_epoch_time.tiny.c4",
}


@pytest.fixture(scope="module")
def measured(request: pytest.FixtureRequest) -> dict[str, list[float]]:
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=0)
    return explain.run({"tiny": vit}, rivals=True, repeats=2, epoch_tiles=3)


def test_every_cost_has_its_name_and_is_a_ratio(measured: dict[str, list[float]]) -> None:
    assert set(measured) == NAMES
    assert all(0 < value < float("inf") for values in measured.values() for value in values)
    assert len(measured["focus.overhead_time.tiny.c32"]) == 2
    assert len(measured["focus.overhead_memory.tiny.c32"]) == 1


def test_rivals_that_run_the_backbone_often_cost_often(measured: dict[str, list[float]]) -> None:
    costs = {rival: statistics.median(measured[f"{rival}.overhead_time.tiny.c4"]) for rival in RIVALS}
    assert costs["ablation"] > 8  # each group once for each of four reference tiles
    assert costs["integrated_gradients"] > 8  # four classes, 32 points, there and back, some at once
    assert costs["occlusion"] > 8  # 16 patches


def test_the_targets_are_of_names_that_are_measured() -> None:
    measures = {tuple(name.split(".")[1:2]) for name in explain.TARGETS}
    assert measures == {("overhead_time",), ("overhead_memory",), ("cached_epoch_time",)}
    assert {name.split(".")[2] for name in explain.TARGETS} <= set(explain.backbones(["ViT-Ti", "ViT-S"]))


def test_a_backbone_that_is_not_measured_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no backbone ViT-X in this bench; known: ViT-Ti, ViT-S, ViT-B"):
        explain.backbones(["ViT-Ti", "ViT-X"])


def test_the_ratio_of_two_calls_is_that_of_their_times() -> None:
    ratios = paired_ratios(lambda: time.sleep(0.03), lambda: time.sleep(0.01), repeats=5)
    assert len(ratios) == 5
    assert 1.5 < statistics.median(ratios) < 4.0


def counted(call: Callable[[], object]) -> int:
    # The fused kernel for processors has no formula in torch; as plain matrix products it is counted.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return counter.get_total_flops()


@torch.no_grad()
def test_the_formulas_count_what_torch_counts(small_model: Callable[..., Focus], windows: torch.Tensor) -> None:
    model = small_model()
    layout, vit = model.layout, model.vit
    images = model.front_end(windows[:1]).images.flatten(0, 1)
    one = pass_flops(vit, tokens=layout.prefix + layout.patches, patches=layout.patches, channels=3)
    assert counted(lambda: vit.forward_features(images)) == len(images) * one
    assert counted(lambda: model.explain(windows[:1])) == explain_flops(model)


@torch.no_grad()
def test_a_token_for_each_band_is_one_long_sequence(small_model: Callable[..., Focus]) -> None:
    model = small_model()  # 12 bands of 3 x 3 patches of 4 px
    long = VisionTransformer(img_size=(36, 48), patch_size=4, in_chans=1, embed_dim=24, depth=3, num_heads=3)
    assert counted(lambda: long.forward_features(torch.zeros(1, 1, 36, 48))) == token_per_band_flops(model)


def test_the_chart_is_drawn_and_a_place_that_cannot_be_written_is_said(
    measured: dict[str, list[float]], tmp_path: Path
) -> None:
    path = tmp_path / "costs.png"
    draw_ratios(measured, {"focus.overhead_time.tiny.c4": 1.2}, str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
    for wrong in ("none/costs.png", "costs.exe"):
        with pytest.raises(TargetError, match="cannot be written"):
            draw_ratios(measured, {}, str(tmp_path / wrong))
