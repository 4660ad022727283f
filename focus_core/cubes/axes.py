"""Named types for everything that has an axis order.

Knows how rows, columns and map coordinates belong together; knows nothing of files or bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio import Affine
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Shape2d:
    """Extent of an image in pixels."""

    rows: int
    cols: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.rows * self.cols

    def __str__(self) -> str:
        return f"{self.rows} rows × {self.cols} columns"


@dataclass(frozen=True)
class PixelBox:
    """A rectangle of whole pixels, ``[row, row + rows)`` by ``[col, col + cols)``."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of the rows and columns of an array ``(y, x)``."""
        return slice(self.row, self.row + self.rows), slice(self.col, self.col + self.cols)

    def intersect(self, other: PixelBox) -> PixelBox | None:
        """Return the pixels that both hold, or none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        rows = min(self.row + self.rows, other.row + other.rows) - row
        cols = min(self.col + self.cols, other.col + other.cols) - col
        return PixelBox(row, col, rows, cols) if rows > 0 and cols > 0 else None

    def within(self, outer: PixelBox) -> PixelBox:
        """Return the same pixels counted from the corner of ``outer``."""
        return PixelBox(self.row - outer.row, self.col - outer.col, self.rows, self.cols)

    def grown(self, by: int, shape: Shape2d) -> PixelBox:
        """Return the box with a margin of ``by`` pixels, cut at the edge of the image."""
        row, col = max(self.row - by, 0), max(self.col - by, 0)
        rows = min(self.row + self.rows + by, shape.rows) - row
        cols = min(self.col + self.cols + by, shape.cols) - col
        return PixelBox(row, col, rows, cols)


@dataclass(frozen=True)
class PixelWindow:
    """A square of pixels, named by its upper left one."""

    row: int
    col: int
    size: int

    @property
    def box(self) -> PixelBox:
        """The same square as a rectangle."""
        return PixelBox(self.row, self.col, self.size, self.size)


PIXELS = Affine.identity()
"""Where there is no CRS: x is the column, y the row, counted from the upper left corner of the image."""


@dataclass(frozen=True)
class PixelGrid:
    """Extent, affine transform (pixel corner to map) and CRS of an image that is not rotated."""

    shape: Shape2d
    transform: Any
    """``rasterio.Affine``: (column, row) of a pixel's corner to (x, y)."""
    crs: Any = None
    """``rasterio.crs.CRS``; none where positions are pixels."""

    @property
    def x(self) -> npt.NDArray[np.float64]:
        """Pixel centres ``(x,)`` in units of the CRS."""
        return np.asarray(self.transform.c + (np.arange(self.shape.cols) + 0.5) * self.transform.a)

    @property
    def y(self) -> npt.NDArray[np.float64]:
        """Pixel centres ``(y,)`` in units of the CRS."""
        return np.asarray(self.transform.f + (np.arange(self.shape.rows) + 0.5) * self.transform.e)

    @property
    def box(self) -> PixelBox:
        """All pixels."""
        return PixelBox(0, 0, self.shape.rows, self.shape.cols)

    def to_pixels(self, geometry: BaseGeometry) -> BaseGeometry:
        """Return a geometry of the map in pixels: x is the column, y the row."""
        corner = np.array([self.transform.c, self.transform.f])
        pixel = np.array([self.transform.a, self.transform.e])
        return shapely.transform(geometry, lambda points: (points - corner) / pixel)

    def place(self, other: PixelGrid) -> tuple[float, float]:
        """Return the column and row, not whole ones, at which the corner of another grid lies on this one."""
        return (
            float((other.transform.c - self.transform.c) / self.transform.a),
            float((other.transform.f - self.transform.f) / self.transform.e),
        )

    def part(self, box: PixelBox) -> PixelGrid:
        """Return the grid of a box, which may reach beyond the image."""
        own = self.transform
        moved = Affine(own.a, 0.0, own.c + box.col * own.a, 0.0, own.e, own.f + box.row * own.e)
        return PixelGrid(Shape2d(box.rows, box.cols), moved, self.crs)

    def same_pixels(self, other: PixelGrid, *, tolerance_px: float = 0.05) -> bool:
        """Return whether two grids have the same extent and lie on each other to ``tolerance_px``."""
        if self.shape != other.shape:
            return False
        far = [grid.part(PixelBox(self.shape.rows, self.shape.cols, 1, 1)) for grid in (self, other)]
        apart = np.abs([self.place(other), far[0].place(far[1])])
        return bool((apart <= tolerance_px).all())
