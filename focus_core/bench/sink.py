"""Does the sink earn its place? FOCUS with other sinks and wirings, on fields with and without a planted collapse.

Collapse is planted twice: bright sheets in every plot, and a backbone whose class token draws attention. The baseline
is what a collapse can happen to: rows that read class and register tokens, and outliers, without a sink.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from focus_core.bench.trials import Trial, backbone_of, explained, simulated_trial, untrained
from focus_core.config import SimulateSettings, TrainSettings
from focus_core.evaluation import score_fold
from focus_core.metrics import collapse_reduction
from focus_core.model import BandScale, Focus
from focus_core.rivals.collapse import plant_collapse
from focus_core.rivals.wirings import OffsetSink, ReadsPrefix, SinkInSequence
from focus_core.training import fit

logger = logging.getLogger(__name__)

Scores = dict[str, float]

BASELINE, SHIPPED = "reads_prefix_no_sink", "focus"
VARIANTS: dict[str, tuple[type[Focus], dict[str, object]]] = {
    BASELINE: (ReadsPrefix, {"sink": False}),
    "reads_prefix_sink": (ReadsPrefix, {}),
    "no_sink": (Focus, {"sink": False}),
    "offset": (OffsetSink, {}),
    "sink_without_attraction": (Focus, {"attraction_weight": 0.0}),
    "sink": (Focus, {}),
    SHIPPED: (Focus, {}),
}
"""Wiring and settings by name; all read outliers too but ``focus``, which is what `train` gives."""
IN_SEQUENCE: dict[str, object] = {"augmented_copies": 1, "epochs": 4, "group_dropout": (0.3,)}
"""Of the wiring whose every step runs the backbone and its gradient: less training, or it takes an hour."""

_ONE = {"prompt_seeds": 1, "max_parameter_share": 1.0}
"""Wirings are compared at one prompt seed: a sink that the backbone's tokens see can only be of one."""
_GROUPS = "agronomic"
_FACTOR = 16.0
_SHEET_REFLECTANCE, _VISIBLE_NM = 0.5, 700.0
_KEPT = ("balanced_accuracy", "band_iou_of_ceiling", "spatial_auc", "sink_share", "ece")


def run(
    seeds: Sequence[int],
    *,
    simulation: SimulateSettings | None = None,
    training: TrainSettings | None = None,
    in_sequence: bool = True,
) -> dict[str, list[float]]:
    """Train and score every variant on three fields for each seed.

    Parameters
    ----------
    seeds
        Of field, backbone and prompts.
    simulation, training
        Settings other than the defaults.
    in_sequence
        Whether to train the wiring in which the backbone's tokens see the sink; it takes most of the time.

    Returns
    -------
    dict[str, list[float]]
        ``<field>.<variant>.<metric>`` for the fields ``plain``, ``sheets`` and ``class_token``, a value for each
        seed. ``prefix_share`` and ``sheet_share`` are shares of the rows' attention, the sink left out;
        ``reduction`` is that of their sum against the baseline's.
    """
    variants = dict(VARIANTS)
    if in_sequence:
        variants["sink_in_sequence"] = (SinkInSequence, IN_SEQUENCE)
    values: dict[str, list[float]] = {}
    for seed in seeds:
        settings = (training or TrainSettings()).model_copy(update={"seed": seed, **_ONE})
        base = (simulation or SimulateSettings()).model_copy(update={"seed": seed, "groups": _GROUPS})
        with tempfile.TemporaryDirectory() as folder:
            fields = {
                name: simulated_trial(Path(folder) / name, base.model_copy(update={"collapse": name == "sheets"}))
                for name in ("plain", "sheets")
            }
            backbone = backbone_of(fields["plain"], Path(folder) / "backbone", "masked", seed=seed)
            for field, trial in {**fields, "class_token": fields["plain"]}.items():
                for name, value in _scores(field, trial, backbone, settings, variants).items():
                    values.setdefault(f"{field}.{name}", []).append(value)
    return values


def _scores(
    field: str,
    trial: Trial,
    backbone: Path,
    settings: TrainSettings,
    variants: dict[str, tuple[type[Focus], dict[str, object]]],
) -> Scores:
    found: Scores = {}
    for name, (wiring, changes) in variants.items():
        logger.info("%s: %s", field, name)
        own = settings.model_copy(update=changes)
        plain = untrained(trial, backbone, own)
        vit = plant_collapse(plain.vit, _FACTOR) if field == "class_token" else plain.vit
        scale = plain.front_end.scale
        model = wiring(plain.spec, vit, scale if name == SHIPPED else BandScale(scale.mean, scale.std))
        fit(model, trial.train, trial.validation, own)
        found |= {f"{name}.{metric}": value for metric, value in _scored(model, trial, own.seed).items()}
    before = found[f"{BASELINE}.prefix_share"] + found[f"{BASELINE}.sheet_share"]
    for name in variants:
        after = found[f"{name}.prefix_share"] + found[f"{name}.sheet_share"]
        found[f"{name}.reduction"] = collapse_reduction(before, after)
    return found


def _scored(model: Focus, trial: Trial, seed: int) -> Scores:
    explanation = explained(trial, model)
    scores = score_fold(model, explanation, trial.reference, seed=seed)
    kept = {name: value for name, value in scores.items() if name.startswith(_KEPT)}
    sheet, uniform = _sheet_share(model, trial)
    return {
        **kept,
        "prefix_share": float(explanation["prefix_attention"].mean()),
        "prefix_share_uniform": model.prefix_read / (model.prefix_read + model.layout.patches),
        "sheet_share": sheet,
        "sheet_share_uniform": uniform,
    }


@torch.no_grad()
def _sheet_share(model: Focus, trial: Trial) -> tuple[float, float]:
    """Return the rows' attention on bright sheets, the sink left out, and what uniform attention would give them."""
    pixels = trial.pixels(trial.one_window_a_plot())
    sheets = _sheets(pixels, trial.test, model)
    attention = model.read(model.encode(model.front_end(pixels).images)).attention[..., model.prefix_read :]
    share = (attention * sheets[:, None, None]).sum(dim=-1) / attention.sum(dim=-1)
    return float(share.mean()), float(sheets.mean())


def _sheets(pixels: Float[Tensor, "tile band ty tx"], tiles: xr.Dataset, model: Focus) -> Float[Tensor, "tile patch"]:
    """Return how much of each patch is brighter than any canopy in the visible."""
    visible = torch.from_numpy(np.flatnonzero(tiles["wavelength"].to_numpy() < _VISIBLE_NM))
    bright = (pixels[:, visible].mean(dim=1) > _SHEET_REFLECTANCE).float()
    share: Callable[..., Tensor] = torch.nn.functional.adaptive_avg_pool2d
    return share(bright[:, None], (model.layout.rows, model.layout.cols)).flatten(1)
