"""Curves against wavelength, one panel for each class.

Knows curves; draws a step for each wavelength group, because nothing is known below its width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from focus_core.report.curves import Curve
from focus_core.report.flight import Flight
from focus_core.report.style import colour, faded

_OTHER = "#555"
_SHADE = "rgba(120,120,120,0.22)"
_PANEL_PX = 210


def curve_figure(
    curves: Sequence[Curve], flight: Flight, *, value: str, beside: Mapping[str, Curve] | None = None
) -> go.Figure:
    """Draw mean, interval and reference ranges of each curve.

    Parameters
    ----------
    curves
        A panel each.
    flight
        Names and edges of the wavelength groups, order of the classes.
    value
        Title of the vertical axis.
    beside
        Curves drawn dotted in grey in the panel of the curve of that name.
    """
    titles = [f"<b>{escape(curve.name)}</b>, {_plots(curve.plots)}" for curve in curves]
    spacing = 0.16 / max(len(curves) - 1, 1)
    figure = make_subplots(
        rows=len(curves), shared_xaxes=True, subplot_titles=titles, vertical_spacing=spacing, y_title=value
    )
    for number, curve in enumerate(curves, start=1):
        tint = colour(flight.classes.index(curve.name))
        for lo, hi in curve.reference_nm:
            figure.add_vrect(
                x0=lo, x1=hi, fillcolor=_SHADE, line_width=0, layer="below", row=number, col=1,
                exclude_empty_subplots=False,
            )  # fmt: skip
        if np.isfinite(curve.lo).all():
            figure.add_trace(_band(curve, flight, faded(tint, 0.3)), row=number, col=1)
        other = (beside or {}).get(curve.name)
        if other is not None:
            figure.add_trace(_steps(other, flight, {"color": _OTHER, "width": 2, "dash": "dot"}), row=number, col=1)
        figure.add_trace(_steps(curve, flight, {"color": tint, "width": 2.5}), row=number, col=1)
        figure.add_hline(y=0, line={"color": "#444", "width": 1}, row=number, col=1)
    axis = {"showline": True, "linecolor": "#888", "gridcolor": "#e6e6e6", "zeroline": False}
    figure.update_xaxes(range=[float(flight.lo_nm.min()) - 20, float(flight.hi_nm.max()) + 20], **axis)
    figure.update_xaxes(title="Wavelength (nm)", row=len(curves), col=1)
    figure.update_yaxes(exponentformat="power", **axis)
    figure.update_layout(
        height=90 + _PANEL_PX * len(curves),
        margin={"l": 100, "r": 15, "t": 40, "b": 50},
        showlegend=False,
        hovermode="closest",
        plot_bgcolor="#fff",
    )
    figure.update_annotations(font_size=14)
    figure.update_annotations(selector={"text": value}, xshift=-65)
    return figure


def _plots(count: int) -> str:
    return f"{count} plot" if count == 1 else f"{count} plots"


def _steps(curve: Curve, flight: Flight, line: Mapping[str, object]) -> go.Scatter:
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for group, (lo, hi) in enumerate(zip(flight.lo_nm, flight.hi_nm, strict=True)):
        if x and lo > flight.hi_nm[group - 1]:
            x, y, text = [*x, None], [*y, None], [*text, ""]
        x += [float(lo), float(lo + hi) / 2, float(hi)]
        y += [float(curve.mean[group])] * 3
        text += [_hover(curve, flight, group)] * 3
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="text", hovertext=text, name=escape(curve.name))


def _band(curve: Curve, flight: Flight, tint: str) -> go.Scatter:
    x: list[float | None] = []
    y: list[float | None] = []
    for lo, hi, low, high in zip(flight.lo_nm, flight.hi_nm, curve.lo, curve.hi, strict=True):
        x += [float(lo), float(hi), float(hi), float(lo), None]
        y += [float(low), float(low), float(high), float(high), None]
    return go.Scatter(x=x, y=y, mode="none", fill="toself", fillcolor=tint, hoverinfo="skip")


def _hover(curve: Curve, flight: Flight, group: int) -> str:
    lines = [
        f"<b>{escape(flight.groups[group])}</b> {flight.lo_nm[group]:g}–{flight.hi_nm[group]:g} nm",
        f"{escape(curve.name)}: {curve.mean[group]:+.2e} per nm",
    ]
    if np.isfinite(curve.lo[group]):
        lines.append(f"between {curve.lo[group]:+.2e} and {curve.hi[group]:+.2e}")
    return "<br>".join(lines)
