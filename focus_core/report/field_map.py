"""The field map: plots in the colour of their predicted class, stronger where the model is surer.

Knows plots and polygons; texts from files are escaped, because Plotly reads some HTML in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from focus_core.report.style import colour, faded, marker
from focus_core.report.table import PlotRow

CONFIDENCE_STEPS = ((0.9, 0.9), (0.7, 0.6), (0.5, 0.35), (0.0, 0.15))
"""Least confidence, and the opacity from there on."""

Outline = dict[str, list[float | None]]


def field_map(
    rows: Sequence[PlotRow], classes: Sequence[str], crs: pyproj.CRS | None, *, rows_downwards: bool
) -> go.Figure:
    """Draw the map.

    The first trace outlines every plot, so that the field stays when a reader filters plots; the last is empty and
    takes the outline of the plot that a reader chooses. Each of those between says which rows it shows: in ``meta``
    where it is of polygons, in ``customdata`` where it is of points.

    Parameters
    ----------
    rows
        The plots, with polygons.
    classes
        In the order of their colours.
    crs
        Of the polygons; ``None`` where they are in pixels.
    rows_downwards
        Whether y grows from the top to the bottom of the field.
    """
    figure = go.Figure(
        go.Scatter(
            **_joined(rows), mode="lines", line={"color": "#999", "width": 1}, hoverinfo="skip", showlegend=False
        )
    )
    for index, name in enumerate(classes):
        own = [(number, row) for number, row in enumerate(rows) if row.predicted == name]
        if own:
            _add_polygons(figure, own, index)
            figure.add_trace(_markers(own, name, index))
    wrong = [(number, row) for number, row in enumerate(rows) if row.wrong]
    if wrong:
        figure.add_trace(_wrong(wrong))
    figure.add_trace(
        go.Scatter(x=[], y=[], mode="lines", line={"color": "#000", "width": 4}, hoverinfo="skip", showlegend=False)
    )
    figure.update_layout(
        height=520,
        hovermode="closest",
        hoverdistance=40,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "title": {"text": "predicted class  "}},
        plot_bgcolor="#fff",
    )
    _scale(figure, rows, crs, rows_downwards=rows_downwards)
    return figure


def outline(row: PlotRow) -> Outline:
    """Return the rings of a plot, one after the other with a gap between."""
    x: list[float | None] = []
    y: list[float | None] = []
    for ring in _rings(shapely.from_wkt(row.geometry)):
        x += [*(point[0] for point in ring), None]
        y += [*(point[1] for point in ring), None]
    return {"x": x, "y": y}


def _rings(shape: BaseGeometry) -> list[list[tuple[float, ...]]]:
    parts = [part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon"]
    return [list(ring.coords) for part in parts for ring in (part.exterior, *part.interiors)]


def _joined(rows: Sequence[PlotRow]) -> Outline:
    own = [outline(row) for row in rows]
    return {axis: [value for ring in own for value in ring[axis]] for axis in ("x", "y")}


def _add_polygons(figure: go.Figure, rows: Sequence[tuple[int, PlotRow]], index: int) -> None:
    """Add one trace for each step of confidence: opacity belongs to a trace."""
    ceiling = math.inf
    for least, opacity in CONFIDENCE_STEPS:
        own = [(number, row) for number, row in rows if least <= row.confidence < ceiling]
        ceiling = least
        if own:
            figure.add_trace(
                go.Scatter(
                    **_joined([row for _, row in own]),
                    meta=[number for number, _ in own],
                    mode="lines",
                    fill="toself",
                    fillcolor=faded(colour(index), opacity),
                    line={"color": colour(index), "width": 1.5},
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=str(index),
                )
            )


def _centres(rows: Sequence[PlotRow]) -> dict[str, list[float]]:
    points = [shapely.from_wkt(row.geometry).representative_point() for row in rows]
    return {"x": [point.x for point in points], "y": [point.y for point in points]}


def _markers(own: Sequence[tuple[int, PlotRow]], name: str, index: int) -> go.Scatter:
    return go.Scatter(
        **_centres([row for _, row in own]),
        mode="markers",
        marker={"symbol": marker(index), "size": 9, "color": colour(index), "line": {"color": "#fff", "width": 1}},
        name=escape(name),
        legendgroup=str(index),
        customdata=[number for number, _ in own],
        hoverinfo="text",
        hovertext=[hover_text(row) for _, row in own],
    )


def _wrong(rows: Sequence[tuple[int, PlotRow]]) -> go.Scatter:
    return go.Scatter(
        **_centres([row for _, row in rows]),
        customdata=[number for number, _ in rows],
        mode="markers",
        marker={"symbol": "x-thin", "size": 20, "line": {"color": "#000", "width": 2}},
        name="not the true class",
        hoverinfo="skip",
    )


def hover_text(row: PlotRow) -> str:
    """Return what the map says of a plot under the pointer, in Plotly's subset of HTML."""
    lines = [
        f"<b>{escape(row.plot)}</b>",
        f"predicted: {escape(row.predicted)} ({row.confidence:.0%})",
        f"true: {escape(row.label)}" if row.label else "true class not known",
    ]
    if row.top:
        lines.append(f"speaks most: {escape(row.top[0].name)} ({row.top[0].importance:+.2f})")
    return "<br>".join(lines)


def _scale(figure: go.Figure, rows: Sequence[PlotRow], crs: pyproj.CRS | None, *, rows_downwards: bool) -> None:
    names, ratio = ("Column (pixels)", "Row (pixels)"), 1.0
    if crs is not None and crs.is_geographic:
        names = ("Longitude (°)", "Latitude (°)")
        ratio = 1.0 / max(0.01, math.cos(math.radians(shapely.from_wkt(rows[0].geometry).centroid.y)))
    elif crs is not None:
        unit = crs.axis_info[0].unit_name.replace("metre", "m")
        names = (f"Easting ({unit})", f"Northing ({unit})")
    axis: dict[str, Any] = {"exponentformat": "none", "separatethousands": False, "showgrid": False, "zeroline": False,
                            "ticks": "outside", "nticks": 6, "automargin": True}  # fmt: skip
    figure.update_xaxes(title=names[0], **axis)
    figure.update_yaxes(title=names[1], scaleanchor="x", scaleratio=ratio, **axis)
    if rows_downwards:
        figure.update_yaxes(autorange="reversed")
