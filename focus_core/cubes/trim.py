"""Plots without what their neighbours disturb: a strip along the edge, or the outer crop rows.

Knows polygons and metres; knows neither pixels nor what is measured in them.
"""

from __future__ import annotations

import geopandas as gpd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from focus_core.config import TrimSettings
from focus_core.errors import SettingsError

_SQUARE = 1.05
"""Sides in a smaller ratio than this do not tell in which direction the rows run."""


def trimmed(plots: gpd.GeoDataFrame, settings: TrimSettings) -> gpd.GeoDataFrame:
    """Return the plots with their edges moved and their border rows left out.

    Parameters
    ----------
    plots
        Polygons in a projected CRS, or in pixels where there is none (a metre below is then a pixel).
    settings
        How far the edge moves (corners stay corners), and how many rows are left out on each long side; rows run along
        the longer side of the plot.

    Raises
    ------
    SettingsError
        If the CRS is geographic, rows are to be left out without their distance or of a plot whose sides do not tell
        the rows' direction, or nothing is left of a plot.
    """
    border_rows, row_m = settings.border_rows, settings.row_m
    if not settings.buffer_m and not border_rows:
        return plots
    if plots.crs is not None and plots.crs.is_geographic:
        raise SettingsError("plots in degrees cannot be trimmed by metres; give the campaign a projected CRS")
    if border_rows and row_m is None:
        raise SettingsError(f"border_rows={border_rows} needs row_m, the distance between rows in metres")
    strip = border_rows * (row_m or 0.0) / metres_per_unit(plots.crs)
    buffer = settings.buffer_m / metres_per_unit(plots.crs)
    kept = []
    for name, shape in zip(plots.index, plots.geometry, strict=True):
        inner = _without_rows(shape, strip, str(name)) if strip else shape
        inner = inner.buffer(buffer, join_style="mitre")
        if inner.is_empty:
            raise SettingsError(f"nothing is left of plot '{name}'; choose a smaller buffer or fewer border rows")
        kept.append(inner)
    return plots.set_geometry(gpd.GeoSeries(kept, index=plots.index, crs=plots.crs))


def metres_per_unit(crs: pyproj.CRS | None) -> float:
    """Return the length of a unit of a projected CRS in metres; 1 without a CRS, whose unit is a pixel."""
    return 1.0 if crs is None else float(crs.axis_info[0].unit_conversion_factor)


def _without_rows(shape: BaseGeometry, strip: float, name: str) -> BaseGeometry:
    """Cut the plot to a band around its long axis."""
    corners = shapely.get_coordinates(shapely.oriented_envelope(shape))[:4]
    sides = [shapely.LineString(corners[[start, start + 1]]) for start in (0, 1)]
    long, short = sorted((sides[0].length, sides[1].length), reverse=True)
    if long < _SQUARE * short:
        raise SettingsError(f"plot '{name}' is about square, so its rows' direction is unknown; use buffer_m instead")
    # The long axis joins the middles of the short sides.
    first, second = ((0, 1), (2, 3)) if sides[0].length < sides[1].length else ((1, 2), (3, 0))
    axis = shapely.LineString([corners[list(first)].mean(axis=0), corners[list(second)].mean(axis=0)])
    half = short / 2.0 - strip
    return shapely.intersection(shape, axis.buffer(half, cap_style="flat")) if half > 0.0 else shapely.Polygon()
