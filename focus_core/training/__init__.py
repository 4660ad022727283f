"""Training: the backbone, and prompts, sink and read-out on it; never sees masks or reference bands."""

from focus_core.training.pretrain import backbone_arguments, pretrain_backbone
from focus_core.training.prompts import FitSummary, fit
from focus_core.training.readout import Blocks, best_blocks, readable_blocks
from focus_core.training.split import split_top_groups
from focus_core.training.supervised import Examples, supervised_backbone
from focus_core.training.windows import Labelled, labelled_windows

__all__ = [
    "Blocks",
    "Examples",
    "FitSummary",
    "Labelled",
    "backbone_arguments",
    "best_blocks",
    "fit",
    "labelled_windows",
    "pretrain_backbone",
    "readable_blocks",
    "split_top_groups",
    "supervised_backbone",
]
