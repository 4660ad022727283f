"""How much of each pixel a plot covers, exactly, as a sparse plot × pixel matrix of one part of the image.

Knows polygons and pixels; reads no spectra. Plots may overlap: a pixel then counts for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from scipy import sparse
from shapely.geometry.base import BaseGeometry

from focus_core.aggregation.importance import metres_per_unit
from focus_core.cubes.axes import PixelBox, PixelGrid
from focus_core.errors import SettingsError

_SQUARE = 1.05
"""Sides in a smaller ratio than this do not tell in which direction the rows run."""
_MITRE_LIMIT = 10.0


class Coverage(NamedTuple):
    """The plots that a box of pixels holds some of."""

    plots: npt.NDArray[np.int64]
    """Plot numbers ``(row,)``, increasing."""
    share: sparse.csr_array
    """Share of each pixel inside each plot ``(row, pixel)``, float64; the pixels of the box in C order."""


def trimmed(
    plots: gpd.GeoDataFrame, *, buffer_m: float = 0.0, border_rows: int = 0, row_m: float | None = None
) -> gpd.GeoDataFrame:
    """Return the plots without what their neighbours disturb.

    Parameters
    ----------
    plots
        Polygons in a projected CRS, or in pixels where there is none (then a metre below is a pixel).
    buffer_m
        Strip left out along the whole edge, metres; negative adds one. Corners stay corners.
    border_rows
        Rows left out on each long side; rows run along the longer side of the plot.
    row_m
        Distance between rows, metres.

    Raises
    ------
    SettingsError
        If the CRS is geographic, rows are to be left out without their distance or of a plot whose sides do not tell
        the rows' direction, or nothing is left of a plot.
    """
    if not buffer_m and not border_rows:
        return plots
    if plots.crs is not None and plots.crs.is_geographic:
        raise SettingsError("plots in degrees cannot be trimmed by metres; give the campaign a projected CRS")
    if border_rows and not row_m:
        raise SettingsError(f"{border_rows} border rows cannot be left out without the distance between rows in metres")
    unit = 1.0 / metres_per_unit(plots.crs)
    kept = []
    for name, shape in zip(plots.index, plots.geometry, strict=True):
        inner = _without_rows(shape, border_rows * (row_m or 0.0) * unit, str(name)) if border_rows else shape
        inner = inner.buffer(-buffer_m * unit, join_style="mitre", mitre_limit=_MITRE_LIMIT)
        if inner.is_empty:
            raise SettingsError(f"nothing is left of plot '{name}' ({shape.area / unit**2:.3g} m²); trim less")
        kept.append(inner)
    return plots.set_geometry(gpd.GeoSeries(kept, index=plots.index, crs=plots.crs))


def _without_rows(shape: BaseGeometry, strip: float, name: str) -> BaseGeometry:
    corners = shapely.get_coordinates(shapely.oriented_envelope(shape))[:4]
    sides = np.roll(corners, -1, axis=0) - corners
    length = np.hypot(*sides.T)
    if length[:2].max() < _SQUARE * length[:2].min():
        raise SettingsError(f"plot '{name}' is about square, so its rows' direction is unknown; give buffer_m instead")
    long = sides[int(length[1] > length[0])]
    across = np.array([-long[1], long[0]]) / np.hypot(*long)
    place = corners @ across
    low, high = place.min() + strip, place.max() - strip
    if low >= high:
        return shapely.Polygon()
    along, middle = long * 2, corners.mean(axis=0)
    ends = [middle + across * (edge - middle @ across) for edge in (low, high)]
    inner = shapely.Polygon([ends[0] - along, ends[0] + along, ends[1] + along, ends[1] - along])
    return shapely.intersection(shape, inner)


def to_pixels(plots: gpd.GeoDataFrame, grid: PixelGrid) -> npt.NDArray[np.object_]:
    """Return the polygons ``(plot,)`` in pixels: x is the column, y the row."""
    return np.array([grid.to_pixels(shape) for shape in plots.geometry], dtype=object)


def coverage(shapes: Sequence[BaseGeometry], numbers: Sequence[int], box: PixelBox) -> Coverage:
    """Return what each polygon covers of each pixel of a box, by exactextract (Baston, ISciences).

    Parameters
    ----------
    shapes
        Polygons in pixels; one that does not reach into the box has no row in the result.
    numbers
        Plot number of each, increasing.
    box
        Pixels that the columns of the result stand for.
    """
    # exactextract's rows count down from the largest y, so rows are turned into heights.
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": shapely.geometry.mapping(
                shapely.transform(shape, lambda xy: (xy - [box.col, box.row]) * [1, -1] + [0, box.rows])
            ),
        }
        for shape in shapes
    ]
    # Coverage needs the grid only: one zero stands for all pixels, and no image is held.
    ground = np.broadcast_to(np.uint8(0), (box.rows, box.cols))
    source = NumPyRasterSource(ground, xmin=0, ymin=0, xmax=box.cols, ymax=box.rows)
    found = [item["properties"] for item in exact_extract(source, features, ["cell_id", "coverage"])]
    held = [place for place, item in enumerate(found) if len(item["cell_id"])]
    cells = [np.asarray(found[place]["cell_id"], dtype=np.int32) for place in held]
    shares = [np.asarray(found[place]["coverage"], dtype=np.float64) for place in held]
    starts = np.cumsum([0, *(len(own) for own in cells)], dtype=np.int32)
    parts = (np.concatenate([*shares, np.empty(0)]), np.concatenate([*cells, np.empty(0, np.int32)]), starts)
    matrix = sparse.csr_array(parts, shape=(len(held), box.rows * box.cols))
    return Coverage(np.array([numbers[place] for place in held], dtype=np.int64), matrix)
