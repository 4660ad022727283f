"""Plain words for curves and metrics.

Knows figures and their names; does not know HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from focus_core.config import FOLDS
from focus_core.report.curves import Curve
from focus_core.report.flight import Flight

_STRONGEST = 5

_METRICS = {
    "balanced_accuracy": "Share of plots called right, averaged over classes. 1 is perfect, 1 / classes a guess.",
    "ece": "Expected calibration error: how far the stated confidence is from the share that is right. 0 is best.",
    "brier": "Squared error of the probabilities. 0 is best.",
    "plots": "Plots that these figures rest on.",
    "band_iou": "Overlap of the strongest bands with the expected ones. 1 is perfect.",
    "band_iou_chance": "Overlap that a random order of wavelengths would reach.",
    "band_iou_ceiling": "Overlap that a perfect model would reach with groups of this width.",
    "band_iou_of_ceiling": "Overlap as a share of what is possible with groups of this width.",
    "mass_in_reference": "Share of the curve above zero that lies on the expected bands.",
    "mass_over_chance": "The same, in multiples of what an even curve would have there. Above 1 is better than chance.",
    "spectral_pointing": "1 where the highest point of the curve lies on an expected band.",
    "effect_size_correlation": "How well the curve follows the measured difference of stressed from healthy pixels.",
    "prefix_attention_uniform": "The same share if attention were spread evenly.",
    "cost.time_ratio": "Time of an explanation over that of a plain pass through the backbone.",
    "cost.parameter_share": "Trained parameters over the backbone's.",
    "soft_iou": "Overlap of the whole curve with the expected bands. 1 is perfect.",
    "spatial_auc": "How well the saliency map ranks marked pixels above others. 0.5 is chance, 1 is perfect.",
    "spatial_auc_ceiling": "The same of a perfect map with patches of this size.",
    "spatial_ap": "Average precision of the saliency map against the expert mask. 1 is perfect.",
    "spatial_pointing": "Share of windows whose most salient spot lies inside the expert mask.",
    "null_share": "Share of the curve on bands that hold noise only. 0 is best.",
    "sink_share": "Share of attention that the prompts put on the sink, which holds nothing.",
    "token_share": "Share of the evidence borne by class and register tokens, which have no place in the image.",
    "prefix_attention": "Share of attention on class and register tokens.",
    "background_attention": "Share of attention on pixels outside the plot.",
    "outlier_share": "Share of the plots' pixels not read, because no training plot has their like: a sheet, a pole.",
    "collapse": "1 where attention gathers on tokens without meaning more than twice as much as by chance.",
    "swap_other_evidence": "Change in other groups when one group's light is swapped. 0 means attribution is exact.",
    "swap_logit_error": "Gap between the change of the logit and that of the group's importance. 0 is exact.",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of one fold."""

    fold: str
    """Empty for a metric of the model as a whole."""
    name: str
    about: str
    """What it is about, e.g. a class; empty for the fold as a whole."""
    value: float
    lo: float | None
    hi: float | None
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Where the prompts' attention goes, shares from 0 to 1."""

    fold: str
    """Part of the split whose windows were looked at."""
    sink_share: float
    background_attention: float
    """On pixels outside the plot."""
    prefix_attention: float
    """On class and register tokens, which have no place in the image."""
    prefix_attention_uniform: float
    """The same, were attention spread evenly; 0 without such tokens."""
    collapse: float
    """1 where attention gathers on such tokens, else 0."""


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """A wavelength group among the strongest of a class."""

    name: str
    nm: str
    """Its range, with the unit."""
    importance: float
    """Signed, logit units; the mean over the class's plots."""
    sure: bool
    """Whether the interval over plots leaves out zero."""

    @property
    def named(self) -> bool:
        """Whether the name says more than the range."""
        return self.name.replace("-", "–") != self.nm.removesuffix(" nm")


def metric_rows(metrics: Mapping[str, float]) -> list[MetricRow]:
    """Return a row for each metric but importance, which is the curves' own; an interval's ends beside its value."""
    rows = []
    for key, value in sorted(metrics.items(), key=lambda item: _order(item[0])):
        if key.endswith((".lo", ".hi")) and key[:-3] in metrics:
            continue
        first, _, rest = key.partition(".")
        fold, name = (first, rest) if first in FOLDS and rest else ("", key)
        base, _, about = (name, "", "") if name in _METRICS else name.partition(".")
        if base == "importance":
            continue
        row = MetricRow(
            fold=fold,
            name=base,
            about=about,
            value=value,
            lo=metrics.get(f"{key}.lo"),
            hi=metrics.get(f"{key}.hi"),
            meaning=_METRICS.get(base, ""),
        )
        rows.append(row)
    return rows


def attention_of(metrics: Mapping[str, float]) -> Attention | None:
    """Return where the attention goes on test plots, or on the last fold that was looked at; none without figures."""
    names = [field.name for field in fields(Attention) if field.name != "fold"]
    for fold in reversed(FOLDS):
        own = {name: metrics[f"{fold}.{name}"] for name in names if f"{fold}.{name}" in metrics}
        if len(own) == len(names):
            return Attention(fold=fold, **own)
    return None


def _order(key: str) -> tuple[int, str]:
    """Test plots come first, what is not about plots last."""
    fold = key.partition(".")[0]
    return (-FOLDS.index(fold) if fold in FOLDS else 1, key)


def strongest_groups(curves: Sequence[Curve], flight: Flight) -> dict[str, list[Strongest]]:
    """Return the strongest wavelength groups of each class, by absolute importance."""
    width = flight.hi_nm - flight.lo_nm
    found = {}
    for curve in curves:
        importance = curve.mean * width
        order = np.argsort(-np.abs(importance), kind="stable")[:_STRONGEST]
        found[curve.name] = [
            Strongest(
                name=flight.groups[group],
                nm=f"{flight.lo_nm[group]:g}–{flight.hi_nm[group]:g} nm",
                importance=float(importance[group]),
                sure=bool(curve.lo[group] > 0 or curve.hi[group] < 0),
            )
            for group in order
        ]
    return found
