"""Figures of a bench as bars, each with its target. Knows names and values, not what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from focus_core.errors import TargetError

_BAR_INCHES = 0.28
_OWN, _OTHER, _TARGET = "#0072B2", "#999999", "#D55E00"
_MEASURES = {
    "overhead_time": "time / plain forward pass",
    "overhead_memory": "peak of live tensors / plain forward pass",
    "cached_epoch_time": "training epoch: cached / backbone in each step",
}
"""Measures with a panel of their own, and the label of their axis."""


_SCORES = {
    "band_iou": "band IoU with the reference bands",
    "spatial_auc": "spatial AUC against the stressed pixels",
    "balanced_accuracy": "balanced accuracy by plot",
    "ablation_rank": "rank agreement with ablation",
    "stability_0.01": "rank agreement under noise of 0.01 reflectance",
}
"""Scores with a panel of their own, and the label of their axis."""


def draw_ratios(values: Mapping[str, Sequence[float]], targets: Mapping[str, float], path: str) -> None:
    """Draw the medians of ``<method>.<measure>.<backbone>.c<classes>``, a row for each backbone.

    Parameters
    ----------
    values
        Ratios by name; measures without a panel are left out.
    targets
        The largest ratio that is good enough, by name.
    path
        The image; matplotlib reads its format from the suffix.

    Raises
    ------
    TargetError
        If the file cannot be written.
    """
    rows = list(dict.fromkeys(name.split(".")[2] for name in values))
    bars = max(len(_of(values, measure, row)) for measure in _MEASURES for row in rows)
    figure = Figure(figsize=(15, len(rows) * (1.2 + _BAR_INCHES * bars)), layout="constrained")
    grid = figure.subplots(len(rows), len(_MEASURES), squeeze=False)
    for row, backbone in enumerate(rows):
        for axes, (measure, label) in zip(grid[row], _MEASURES.items(), strict=True):
            _draw_panel(axes, _of(values, measure, backbone), targets)
            axes.set(title=backbone, xlabel=label)
    _save(figure, path)


def draw_scores(
    values: Mapping[str, Sequence[float]],
    targets: Mapping[str, float],
    path: str,
    labels: Mapping[str, str] = _SCORES,
) -> None:
    """Draw the means of ``<method>.<score>`` or ``<method>.<score>.<class>``, each seed as a dot.

    Parameters
    ----------
    values
        A value for each seed, by name; scores without a panel, and names that begin with wavelength groups, are left
        out.
    targets
        The smallest score that is good enough, by name.
    path
        The image; matplotlib reads its format from the suffix.
    labels
        Scores with a panel, and the label of their axis.

    Raises
    ------
    TargetError
        If the file cannot be written.
    """
    panels = {score: _with_score(values, score) for score in labels}
    heights = [max(1, len(rows)) for rows in panels.values()]
    figure = Figure(figsize=(9, _BAR_INCHES * sum(heights) + 0.9 * len(panels)), layout="constrained")
    for axes, (score, rows) in zip(figure.subplots(len(panels), 1, height_ratios=heights), panels.items(), strict=True):
        for position, (name, found) in enumerate(rows.items()):
            axes.barh(position, statistics.fmean(found), color=_OWN if name.startswith("focus.") else _OTHER)
            axes.scatter(found, [position] * len(found), color="black", s=6, zorder=3)
            if name in targets:
                axes.plot([targets[name]] * 2, [position - 0.45, position + 0.45], color=_TARGET, linewidth=2.5)
        axes.set_yticks(range(len(rows)), [name.replace(f".{score}", "").replace(".", ", ") for name in rows])
        axes.set(xlabel=labels[score], xlim=(0.0, 1.0))
        axes.invert_yaxis()
    _save(figure, path)


def _with_score(values: Mapping[str, Sequence[float]], score: str) -> dict[str, Sequence[float]]:
    found = {}
    for name, seeds in values.items():
        _, _, rest = name.partition(".")
        if rest == score or (rest.startswith(f"{score}.") and not rest.endswith((".lo", ".hi"))):
            found[name] = seeds
    return dict(sorted(found.items(), key=lambda item: (item[0].split(".")[-1], not item[0].startswith("focus."))))


def _save(figure: Figure, path: str) -> None:
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise TargetError(f"--plot '{path}' cannot be written: {error}") from error


def _of(values: Mapping[str, Sequence[float]], measure: str, backbone: str) -> dict[str, float]:
    wanted = [name for name in values if name.split(".")[1:3] == [measure, backbone]]
    return {name: statistics.median(values[name]) for name in wanted}


def _draw_panel(axes: Axes, ratios: Mapping[str, float], targets: Mapping[str, float]) -> None:
    for position, (name, ratio) in enumerate(ratios.items()):
        axes.barh(position, ratio, color=_OWN if name.startswith("focus.") else _OTHER)
        axes.annotate(f" {ratio:.3g}", (ratio, position), va="center")
        if name in targets:
            axes.plot([targets[name]] * 2, [position - 0.45, position + 0.45], color=_TARGET, linewidth=2.5)
    labels = [f"{name.split('.')[0]}, {name.rsplit('.c', 1)[1]} classes" for name in ratios]
    axes.set_yticks(range(len(labels)), labels)
    axes.axvline(1.0, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.invert_yaxis()
