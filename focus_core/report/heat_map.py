"""Heat maps against wavelength: the importance of every plot, and what the sink takes of each class's attention.

Knows one flight; a cell is as wide as its wavelength group, and what lies outside all groups stays empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from focus_core.report.flight import Flight

_STRONG = 98.0
"""Percentile of absolute importance that gets the full colour, so that one odd plot does not fade the others."""
_ROW_PX = (0.9, 6.0, 24.0)
"""Least, usual and greatest height of a row, pixels."""
_AXIS = {"showgrid": False, "zeroline": False, "ticks": "outside", "automargin": True}

Rows = Sequence[npt.NDArray[np.float64]]


def importance_map(flight: Flight) -> go.Figure:
    """Draw a row for each plot: the importance per nm of its true class, or of the predicted one where none is known.

    Rows are sorted by class; orange speaks for the class, purple against it (PuOr of Brewer 2003, *ColorBrewer*, which
    readers who do not see some colours can tell apart).
    """
    of_plot = np.array(
        [
            flight.classes.index(label) if label else predicted
            for label, predicted in zip(flight.label, flight.predicted, strict=True)
        ]
    )
    order = np.argsort(of_plot, kind="stable")
    rows = [flight.per_nm[plot, of_plot[plot]] for plot in order]
    limit = float(np.percentile(np.abs(rows), _STRONG)) or 1.0
    names = [f"{escape(flight.plots[plot])}, {escape(flight.classes[of_plot[plot]])}" for plot in order]
    scale = {"colorscale": "PuOr", "reversescale": True, "zmin": -limit, "zmax": limit}
    bar = {"title": {"text": "per nm"}, "exponentformat": "power"}
    figure = _heat(flight, rows, names, "%{z:+.2e} per nm", colorbar=bar, **scale)
    counts = np.bincount(of_plot, minlength=len(flight.classes))
    ends = np.cumsum(counts)
    shown = np.flatnonzero(counts)
    for end in ends[shown][:-1]:
        figure.add_hline(y=float(end) - 0.5, line={"color": "#1b1b1b", "width": 1.5})
    figure.update_yaxes(
        tickvals=[float(ends[cls] - (counts[cls] + 1) / 2) for cls in shown],
        ticktext=[escape(flight.classes[cls]) for cls in shown],
    )
    return figure


def sink_map(flight: Flight) -> go.Figure:
    """Draw a row for each class: the mean share of attention that its prompts leave on the sink, over its plots."""
    shown = [cls for cls, name in enumerate(flight.classes) if name in flight.grouping]
    rows = [
        flight.sink_share[[own == flight.classes[cls] for own in flight.grouping], cls].mean(axis=0) for cls in shown
    ]
    names = [escape(flight.classes[cls]) for cls in shown]
    # From nothing to the next full tenth: the whole range would show most fields in one colour.
    look = {"colorscale": "Cividis", "zmin": 0.0, "zmax": max(np.ceil(np.max(rows) * 10.0), 1.0) / 10.0}
    bar = {"title": {"text": "share"}, "tickformat": ".0%"}
    figure = _heat(flight, rows, names, "%{z:.1%} on the sink", colorbar=bar, **look)
    return figure.update_yaxes(tickvals=list(range(len(shown))), ticktext=names)


def _heat(flight: Flight, rows: Rows, names: Sequence[str], value: str, **look: Any) -> go.Figure:
    edges, cells = _cells(flight)
    # Three digits are more than a colour shows, and keep the page small.
    z = [[None if cell is None else float(f"{row[cell]:.3g}") for cell in cells] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            x=edges,
            y=list(range(len(rows))),
            z=z,
            text=[[name] * len(cells) for name in names],
            hovertemplate=f"<b>%{{text}}</b><br>%{{x:.0f}} nm: {value}<extra></extra>",
            hoverongaps=False,
            **look,
        )
    )
    least, usual, greatest = _ROW_PX
    height = float(np.clip(480.0, least * len(rows), max(usual * len(rows), greatest * min(len(rows), 12))))
    figure.update_layout(height=130 + height, margin={"l": 10, "r": 10, "t": 35, "b": 50}, plot_bgcolor="#fff")
    figure.update_xaxes(title="Wavelength (nm)", **_AXIS)
    figure.update_yaxes(autorange="reversed", **_AXIS)
    return figure


def _cells(flight: Flight) -> tuple[list[float], list[int | None]]:
    """Return the edges of the cells, and the group that fills each; none fills a gap."""
    edges, cells = [float(flight.lo_nm[0])], list[int | None]()
    for group, (lo, hi) in enumerate(zip(flight.lo_nm, flight.hi_nm, strict=True)):
        if lo > edges[-1]:
            edges.append(float(lo))
            cells.append(None)
        edges.append(float(hi))
        cells.append(group)
    return edges, cells
