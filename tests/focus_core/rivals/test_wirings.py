import copy
from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from focus_core.config import TrainSettings
from focus_core.errors import ModelError
from focus_core.model import BandScale, Focus, ModelSpec
from focus_core.rivals.collapse import plant_collapse
from focus_core.rivals.wirings import OffsetSink, ReadsPrefix, SinkInSequence
from focus_core.training import Labelled, fit
from focus_core.training.cache import ContextCache

WIRINGS = (ReadsPrefix, OffsetSink, SinkInSequence)
SETTINGS = TrainSettings(epochs=4, augmented_copies=0, group_dropout=(0.3,), max_parameter_share=1.0)


@pytest.fixture
def small_spec(small_spec: Callable[..., ModelSpec]) -> Callable[..., ModelSpec]:
    """With one prompt seed: a sink in the backbone's sequence is of one seed only."""
    return lambda **changes: small_spec(**{"prompt_seeds": 1, **changes})


def build(wiring: type[Focus], vit: VisionTransformer, spec: ModelSpec) -> Focus:
    """Random where training would leave something, so that nothing is zero by chance."""
    model = wiring(spec, vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1)))
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.nn.init.normal_(model.reference_mean)
    return model.eval()


@pytest.fixture
def strong_vit(small_vit: Callable[..., VisionTransformer]) -> VisionTransformer:
    """Its blocks change the tokens visibly; in every head the first dimension of all queries is large and positive."""
    vit = small_vit(reg_tokens=2)
    for parameter in vit.blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for block in vit.blocks:
        block.attn.qkv.bias.data[:24:8] = 30.0
    return vit


def toward_queries(model: Focus, size: float) -> None:
    """Give every sink a key of one size along what all queries of ``strong_vit`` share."""
    for rows in model.rows:
        assert rows.sink_keys is not None
        rows.sink_keys.data.zero_()
        rows.sink_keys.data[..., 0] = size


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("planted", [False, True])
def test_importance_adds_up_and_groups_stay_apart(
    wiring: type[Focus],
    planted: bool,
    strong_vit: VisionTransformer,
    small_spec: Callable[..., ModelSpec],
    windows: torch.Tensor,
) -> None:
    model = build(wiring, plant_collapse(strong_vit, 8.0) if planted else strong_vit, small_spec())
    swapped = windows.clone()
    swapped[0, 3:6] = windows[1, 3:6]
    before, after = model.explain(windows), model.explain(swapped)
    torch.testing.assert_close(before.importance.sum(-1) + model.bias, before.logit, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before.saliency.sum((-1, -2)), before.importance, atol=1e-4, rtol=1e-4)
    assert torch.equal(before.evidence[:, :, [0, 2, 3]], after.evidence[:, :, [0, 2, 3]])
    change = (after.importance - before.importance)[0, :, 1]
    assert change.abs().max() > 1e-3
    torch.testing.assert_close((after.logit - before.logit)[0], change, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_each_trains_as_focus_does_and_leaves_the_backbone_bit_equal(
    wiring: type[Focus],
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    vit, data = small_vit(), planted(plots=12, windows=1)
    before = copy.deepcopy(vit.state_dict())
    model = wiring(small_spec(), vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.05)))
    fit(model, data, planted(plots=6, windows=1, seed=1), SETTINGS)
    after = model.vit.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    sinks = [value for name, value in model.rows[0].named_parameters() if name.startswith("sink")]
    assert len(sinks) == 1
    assert all((part != 0).any() for part in sinks[0].detach())
    control = model.explain(data.reflectance[data.label == 0]).importance.mean(0)
    torch.testing.assert_close(control, torch.zeros_like(control), atol=5e-3, rtol=0.0)


def test_the_attraction_loss_moves_a_scalar_sink_to_what_is_empty(
    small_vit: Callable[..., VisionTransformer],
    small_spec: Callable[..., ModelSpec],
    planted: Callable[..., Labelled],
) -> None:
    share = []
    for weight in (0.0, 10.0):
        model = OffsetSink(small_spec(), small_vit(), BandScale(torch.full((12,), 0.3), torch.full((12,), 0.05)))
        settings = SETTINGS.model_copy(update={"attraction_weight": weight})
        fit(model, planted(plots=12, windows=1), planted(plots=6, windows=1, seed=1), settings)
        share.append(float(model.explain(planted(seed=2).reflectance).sink_share.mean()))
    # A scalar cannot tell the empty from the full, and the loss's best for one that cannot is a half.
    assert 1.2 * share[0] < share[1] < 0.5


@torch.no_grad()
def test_an_offset_is_the_sinks_logit(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    model, without = (
        build(OffsetSink, strong_vit, small_spec()),
        Focus(small_spec(sink=False), strong_vit, BandScale(torch.ones(12), torch.ones(12))),
    )
    without.load_state_dict(
        {name: value for name, value in model.state_dict().items() if not name.endswith("sink_offsets")}
    )
    plain = without.explain(windows)
    model.rows[0].sink_offsets.fill_(-torch.inf)
    torch.testing.assert_close(model.explain(windows).evidence, plain.evidence, atol=1e-5, rtol=1e-5)
    model.rows[0].sink_offsets.fill_(1e4)
    assert model.explain(windows).sink_share.min() > 0.99


def test_every_token_is_read_and_without_a_place_it_counts_on_no_patch(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    model = build(ReadsPrefix, strong_vit, small_spec(sink=False))
    images = model.front_end(windows).images
    reading = model.read(model.encode(images))
    assert reading.attention.shape[-1] == 3 + 9
    torch.testing.assert_close(reading.attention.sum(-1), torch.ones(5, 3, 4))
    explained = model.explain(windows)
    assert ((explained.token_share > 0) & (explained.token_share < 1)).all()
    assert (explained.sink_share == 0).all()


@torch.no_grad()
def test_a_sink_that_draws_nothing_leaves_focus_as_it_is(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    model = build(SinkInSequence, strong_vit, small_spec())
    other = {name: value for name, value in model.state_dict().items() if not name.endswith("sink_keys")}
    without = Focus(small_spec(sink=False), strong_vit, BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1)))
    without.load_state_dict(other)
    wanted = without.explain(windows)
    toward_queries(model, 0.0)
    assert (model.explain(windows).evidence - wanted.evidence).abs().max() > 1e-2
    toward_queries(model, -100.0)
    found = model.explain(windows)
    for name in ("evidence", "importance", "logit", "saliency", "background_attention"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_sink_that_draws_all_leaves_a_block_its_mlp_only(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    model = build(SinkInSequence, strong_vit, small_spec(read_blocks=(0, 1)))
    toward_queries(model, 100.0)
    images = model.front_end(windows).images
    entry, after = (tokens.entry for tokens in model.encode(images))
    block = strong_vit.blocks[0]
    rows = entry + block.attn.proj.bias
    torch.testing.assert_close(after, rows + block.mlp(block.norm2(rows)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_base_patch16_siglip_224"])
@torch.no_grad()
def test_rotary_positions_and_pooled_patches_are_the_backbones_own(
    name: str, small_spec: Callable[..., ModelSpec]
) -> None:
    torch.manual_seed(0)
    size = 28 if "patch14" in name else 32
    vit = timm.create_model(name, num_classes=0, img_size=size, depth=2, embed_dim=64, num_heads=4)
    for block in vit.blocks:
        attention = block.attn
        bias = attention.q_bias if hasattr(attention, "q_bias") else attention.qkv.bias
        bias[15:64:16] = 30.0  # the dimension that a rotation turns least
    spec = small_spec(input_px=size, read_blocks=(0, 1))
    scale = BandScale(torch.full((12,), 0.3), torch.full((12,), 0.1))
    model, focus = (kind(spec, vit, scale) for kind in (SinkInSequence, Focus))
    model.rows[0].sink_keys[..., -1] = -100.0
    images = torch.randn(2, 4, 3, size, size)
    for found, wanted in zip(model.encode(images), focus.encode(images), strict=True):
        for tensor, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(tensor, other, atol=1e-5, rtol=1e-5)


def test_only_tokens_that_stay_as_they_are_are_cached(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    for wiring, held in ((ReadsPrefix, 5), (OffsetSink, 5), (SinkInSequence, 0)):
        model = build(wiring, strong_vit, small_spec())
        cache = ContextCache(model, model.front_end(windows).images, budget_mb=100.0)
        assert cache.held == held
        wanted = model.explain(windows).evidence
        torch.testing.assert_close(model.read(cache.take(torch.arange(5))).evidence, wanted)


def test_gradients_reach_the_sink_of_every_block_and_nothing_of_the_backbone(
    strong_vit: VisionTransformer, small_spec: Callable[..., ModelSpec], windows: torch.Tensor
) -> None:
    model = build(SinkInSequence, strong_vit, small_spec(read_blocks=(2,)))
    model.read(model.encode(model.front_end(windows).images)).evidence.square().sum().backward()
    sink_keys = model.rows[0].sink_keys
    assert sink_keys is not None
    assert sink_keys.grad is not None
    assert sink_keys.grad.shape == (3, 4, 3, 8)  # block, group, head, dimension
    assert (sink_keys.grad.abs().amax(dim=(1, 3)) > 0).all()
    assert all(parameter.grad is None for parameter in model.vit.parameters())


@pytest.mark.parametrize("wiring", [OffsetSink, SinkInSequence])
def test_a_wiring_of_the_sink_refuses_a_spec_without_one(
    wiring: type[Focus], small_vit: Callable[..., VisionTransformer], small_spec: Callable[..., ModelSpec]
) -> None:
    with pytest.raises(ModelError, match=f"{wiring.rows_type.__name__} have a sink, but the spec has none"):
        build(wiring, small_vit(), small_spec(sink=False))


def test_one_backbone_takes_one_sink(
    small_vit: Callable[..., VisionTransformer], small_spec: Callable[..., ModelSpec]
) -> None:
    with pytest.raises(ModelError, match="the spec has 2 prompt seeds; set prompt_seeds to 1"):
        build(SinkInSequence, small_vit(), small_spec(prompt_seeds=2))
