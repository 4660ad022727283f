"""Metrics as pure array functions: numpy in, numbers out, no stores and no models.

One convention throughout. What a metric cannot say is NaN, "not applicable": an empty reference, a tile without a
mask, a constant map. NaN in an input is missing and left out. What cannot be meant raises `SettingsError`: infinite
importance, shares outside [0, 1], attention before the softmax.
"""

from focus_core.metrics.agreement import concordance, map_stability, rank_agreement, value_agreement
from focus_core.metrics.attention import (
    Collapse,
    attention_collapse,
    attention_share,
    collapse_reduction,
    effective_support,
    has_collapse,
    sink_rate,
    uniform_share,
)
from focus_core.metrics.band_bounds import band_iou_ceiling, band_iou_chance
from focus_core.metrics.band_scores import band_scores
from focus_core.metrics.bands import (
    band_iou,
    effect_size_correlation,
    mass_in_reference,
    mass_over_chance,
    null_share,
    soft_iou,
    spectral_pointing,
    top_bands,
)
from focus_core.metrics.classification import (
    balanced_accuracy,
    balanced_accuracy_interval,
    brier_score,
    confusion,
    expected_calibration_error,
)
from focus_core.metrics.drift import DRIFT_LEVEL, Plots, drift
from focus_core.metrics.faithfulness import deletion_path, insertion_path, path_auc
from focus_core.metrics.spatial import (
    TileScores,
    auc_3d,
    average_precision_3d,
    over_tiles,
    spatial_auc,
    spatial_average_precision,
    spatial_pointing,
    spread_over_bands,
)
from focus_core.metrics.student import student_interval

__all__ = [
    "DRIFT_LEVEL",
    "Collapse",
    "Plots",
    "TileScores",
    "attention_collapse",
    "attention_share",
    "auc_3d",
    "average_precision_3d",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "band_iou",
    "band_iou_ceiling",
    "band_iou_chance",
    "band_scores",
    "brier_score",
    "collapse_reduction",
    "concordance",
    "confusion",
    "deletion_path",
    "drift",
    "effect_size_correlation",
    "effective_support",
    "expected_calibration_error",
    "has_collapse",
    "insertion_path",
    "map_stability",
    "mass_in_reference",
    "mass_over_chance",
    "null_share",
    "over_tiles",
    "path_auc",
    "rank_agreement",
    "sink_rate",
    "soft_iou",
    "spatial_auc",
    "spatial_average_precision",
    "spatial_pointing",
    "spectral_pointing",
    "spread_over_bands",
    "student_interval",
    "top_bands",
    "uniform_share",
    "value_agreement",
]
