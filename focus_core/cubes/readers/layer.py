"""Single layers of numbers on a grid: label rasters and expert masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focus_core.cubes.axes import PIXELS, PixelBox, PixelGrid, Shape2d
from focus_core.cubes.readers.geotiff import open_raster, refuse_masked, upright
from focus_core.cubes.readers.matlab import read_matlab
from focus_core.cubes.readers.sniff import Format, sniff
from focus_core.errors import CubeError


@dataclass(frozen=True)
class Layer:
    """Numbers ``(y, x)``, NaN where the file names none, and where they lie; without a georeference, in pixels."""

    values: Any
    grid: PixelGrid

    def part_on(self, grid: PixelGrid) -> Layer:
        """Return the part that lies on another grid, or the whole where it does not hold all of that."""
        col, row = self.grid.place(grid)
        box = PixelBox(round(row), round(col), grid.shape.rows, grid.shape.cols)
        if box.intersect(self.grid.box) != box:
            return self
        return Layer(self.values[box.slices], self.grid.part(box))


def open_layer(path: Path, variable: str | None = None) -> Layer:
    """Read the two-dimensional array of a MATLAB file, or the only band of a GeoTIFF.

    Raises
    ------
    CubeError
        If the file is neither, holds more than one layer, is rotated, or hides pixels by a mask.
    """
    kind = sniff(path)
    if kind is Format.MATLAB:
        values = read_matlab(path, variable, dims=2)
        return Layer(values, PixelGrid(Shape2d(*values.shape), PIXELS))
    if kind is not Format.TIFF:
        raise CubeError(f"{path}: expected a GeoTIFF or a MATLAB file with one layer")
    with open_raster(path) as file:
        if file.count != 1:
            raise CubeError(f"{path}: expected one band, found {file.count}")
        refuse_masked(path, file)
        values = np.asarray(file.read(1))
        if file.nodata is not None:
            # The narrowest floats that hold the numbers exactly: a byte becomes two, not eight.
            numbers = values.astype(np.result_type(values, np.float16))
            values = np.where(values == file.nodata, numbers.dtype.type(np.nan), numbers)
        return Layer(values, PixelGrid(Shape2d(file.height, file.width), upright(path, file) or PIXELS, file.crs))
