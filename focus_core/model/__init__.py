"""The FOCUS model: front end, frozen backbone, prompts, sink and read-out; never loads xarray."""

from focus_core.model.backbone import BlockTokens, layout_of
from focus_core.model.device import CPU, Placement, placement
from focus_core.model.focus import Explanation, Focus, Reading
from focus_core.model.frontend import CHANNELS, BandScale, FrontEnd, GroupImages
from focus_core.model.published import published_vit
from focus_core.model.spec import BackboneReference, GroupRange, ModelSpec, TrainingPlots, evenly_spaced, read_spec
from focus_core.model.weights import (
    BACKBONE_WEIGHTS,
    MODEL_WEIGHTS,
    load_backbone,
    load_model,
    read_backbone,
    save_backbone,
    save_model,
    sha256_of,
)

__all__ = [
    "BACKBONE_WEIGHTS",
    "CHANNELS",
    "CPU",
    "MODEL_WEIGHTS",
    "BackboneReference",
    "BandScale",
    "BlockTokens",
    "Explanation",
    "Focus",
    "FrontEnd",
    "GroupImages",
    "GroupRange",
    "ModelSpec",
    "Placement",
    "Reading",
    "TrainingPlots",
    "evenly_spaced",
    "layout_of",
    "load_backbone",
    "load_model",
    "placement",
    "published_vit",
    "read_backbone",
    "read_spec",
    "save_backbone",
    "save_model",
    "sha256_of",
]
