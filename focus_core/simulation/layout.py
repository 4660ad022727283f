"""Where the plots of the trial lie: randomised complete blocks on a field that is turned against the grid.

Knows positions and labels; does not know what grows there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio import Affine

from focus_core.config import SimulateSettings

CLASSES = ("control", "low_nitrogen", "drought", "disease")
CONTROL = CLASSES[0]
CRS = "EPSG:32633"
CENTRE_M = (412_000.0, 5_821_000.0)
"""Easting and northing of the field's centre, metres."""
MARGIN_PX = 4
"""Bare soil around the field in every image, pixels."""
_BLOCK_SIDE = 2  # a block is a square of as many plots as there are classes

Coordinates = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Plot:
    """One plot of the trial, and its place in the field's own frame."""

    name: str
    block: str
    label: int
    """Index into `CLASSES`."""
    row: int
    """Plots from the field's upper edge."""
    col: int
    """Plots from the field's left edge."""


@dataclass(frozen=True)
class Grid:
    """The pixel grid of one flight's image."""

    x: float
    """Easting of the upper left corner, metres."""
    y: float
    """Northing of the upper left corner, metres."""
    pixel_m: float
    lines: int
    samples: int

    @property
    def transform(self) -> Affine:
        """From (column, row) to (easting, northing), metres."""
        return Affine(self.pixel_m, 0.0, self.x, 0.0, -self.pixel_m, self.y)

    def eastings(self) -> npt.NDArray[np.float64]:
        """Centres of the columns ``(samples,)``, metres."""
        return np.asarray(self.x + (np.arange(self.samples) + 0.5) * self.pixel_m, np.float64)

    def northings(self) -> npt.NDArray[np.float64]:
        """Centres of the rows ``(lines,)``, metres, from north to south."""
        return np.asarray(self.y - (np.arange(self.lines) + 0.5) * self.pixel_m, np.float64)


@dataclass(frozen=True)
class Layout:
    """All plots, and the way between the field's frame and the map.

    The field's frame counts pixels ``u`` along a row of plots and ``v`` down the rows, from the field's corner.
    """

    plots: tuple[Plot, ...]
    rows: int
    """Rows of plots."""
    cols: int
    """Columns of plots."""
    plot_px: int
    buffer_px: int
    pixel_m: float
    rotation_deg: float

    @property
    def height_px(self) -> int:
        """Extent of the field along ``v``, pixels."""
        return self.rows * (self.plot_px + self.buffer_px) + self.buffer_px

    @property
    def width_px(self) -> int:
        """Extent of the field along ``u``, pixels."""
        return self.cols * (self.plot_px + self.buffer_px) + self.buffer_px

    def corner(self, plot: Plot) -> tuple[int, int]:
        """Return ``(u, v)`` of a plot's corner nearest to the field's corner, pixels."""
        pitch = self.plot_px + self.buffer_px
        return self.buffer_px + plot.col * pitch, self.buffer_px + plot.row * pitch

    def to_map(self, u: Coordinates, v: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return easting and northing, metres, of places in the field's frame."""
        angle = math.radians(self.rotation_deg)
        along, down = (u - self.width_px / 2) * self.pixel_m, (v - self.height_px / 2) * self.pixel_m
        x = CENTRE_M[0] + along * math.cos(angle) + down * math.sin(angle)
        y = CENTRE_M[1] + along * math.sin(angle) - down * math.cos(angle)
        return x, y

    def to_field(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return ``u`` and ``v``, pixels, of places on the map."""
        angle = math.radians(self.rotation_deg)
        east, north = (x - CENTRE_M[0]) / self.pixel_m, (y - CENTRE_M[1]) / self.pixel_m
        u = east * math.cos(angle) + north * math.sin(angle) + self.width_px / 2
        v = east * math.sin(angle) - north * math.cos(angle) + self.height_px / 2
        return u, v

    def outline(self, plot: Plot) -> npt.NDArray[np.float64]:
        """Return the corners of a plot ``(4, 2)``: easting and northing, metres."""
        u, v = self.corner(plot)
        us, vs = u + self.plot_px * np.array([0, 1, 1, 0]), v + self.plot_px * np.array([0, 0, 1, 1])
        return np.stack(self.to_map(us.astype(np.float64), vs.astype(np.float64)), axis=1)

    def grid(self, *, east_px: float, north_px: float) -> Grid:
        """Return a grid that holds the whole field, moved by parts of a pixel as flights are."""
        angle = math.radians(abs(self.rotation_deg))
        width = self.width_px * math.cos(angle) + self.height_px * math.sin(angle)
        height = self.width_px * math.sin(angle) + self.height_px * math.cos(angle)
        samples, lines = math.ceil(width) + 2 * MARGIN_PX, math.ceil(height) + 2 * MARGIN_PX
        x = CENTRE_M[0] + (east_px - samples / 2) * self.pixel_m
        y = CENTRE_M[1] + (north_px + lines / 2) * self.pixel_m
        return Grid(round(x, 4), round(y, 4), self.pixel_m, lines, samples)


def draw_layout(settings: SimulateSettings, rng: np.random.Generator) -> Layout:
    """Lay the blocks out as squarely as their number allows, and draw the order of classes in each."""
    blocks_across = math.ceil(math.sqrt(settings.blocks))
    blocks_down = math.ceil(settings.blocks / blocks_across)
    plots: list[Plot] = []
    for block in range(settings.blocks):
        top, left = (_BLOCK_SIDE * part for part in divmod(block, blocks_across))
        for place, label in enumerate(rng.permutation(len(CLASSES))):
            down, across = divmod(place, _BLOCK_SIDE)
            plots.append(Plot(f"P{len(plots) + 1:03d}", f"B{block + 1:02d}", int(label), top + down, left + across))
    return Layout(
        plots=tuple(plots),
        rows=_BLOCK_SIDE * blocks_down,
        cols=_BLOCK_SIDE * blocks_across,
        plot_px=settings.plot_px,
        buffer_px=settings.buffer_px,
        pixel_m=settings.pixel_m,
        rotation_deg=settings.rotation_deg,
    )
