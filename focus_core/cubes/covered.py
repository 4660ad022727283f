"""Which pixels polygons cover, and how much of each, by exactextract (Baston, ISciences)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from shapely.geometry.base import BaseGeometry

from focus_core.cubes.axes import PixelBox


def covered(
    shapes: Iterable[BaseGeometry], box: PixelBox
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Return what each polygon covers of the pixels of a box: their numbers in C order, and the share inside, exact.

    Parameters
    ----------
    shapes
        Polygons in pixels of the image: x is the column, y the row.
    box
        The part of the image.
    """
    # exactextract's y points up.
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": shapely.geometry.mapping(shapely.transform(shape, lambda xy: xy * [1.0, -1.0])),
        }
        for shape in shapes
    ]
    # Coverage needs the grid only: one zero stands for all pixels, and no image is held.
    ground = np.broadcast_to(np.uint8(0), (box.rows, box.cols))
    right, bottom = box.col + box.cols, box.row + box.rows
    source = NumPyRasterSource(ground, xmin=box.col, ymin=-bottom, xmax=right, ymax=-box.row)
    found = [item["properties"] for item in exact_extract(source, features, ["cell_id", "coverage"])]
    return [
        (np.asarray(item["cell_id"], dtype=np.int64), np.asarray(item["coverage"], dtype=np.float64)) for item in found
    ]
