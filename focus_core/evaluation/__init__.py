"""What a model is worth on held-out plots: metrics under fixed names, and checks of what must hold exactly."""

from focus_core.evaluation.checks import cost, swap_check
from focus_core.evaluation.drift import drift_of_flight, drift_of_training, training_plots
from focus_core.evaluation.folds import mask_of_tiles, score_bands, score_fold, score_space
from focus_core.evaluation.plots import PlotEvidence, class_curves, of_plots

__all__ = [
    "PlotEvidence",
    "class_curves",
    "cost",
    "drift_of_flight",
    "drift_of_training",
    "mask_of_tiles",
    "of_plots",
    "score_bands",
    "score_fold",
    "score_space",
    "swap_check",
    "training_plots",
]
