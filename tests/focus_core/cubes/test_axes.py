import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine

from focus_core.cubes.axes import PIXELS, PixelBox, PixelGrid, PixelWindow, Shape2d

boxes = st.builds(PixelBox, st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.integers(1, 8))


@given(boxes, boxes)
def test_intersection_is_that_of_the_pixels(one: PixelBox, other: PixelBox) -> None:
    masks = np.zeros((2, 20, 20), dtype=bool)
    masks[0][one.slices] = masks[1][other.slices] = True
    common = one.intersect(other)
    both = np.zeros((20, 20), dtype=bool)
    if common is not None:
        both[common.slices] = True
    np.testing.assert_array_equal(both, masks[0] & masks[1])


@given(boxes, st.integers(0, 4))
def test_a_margin_stays_in_the_image(box: PixelBox, by: int) -> None:
    shape = Shape2d(rows=16, cols=17)
    grown = box.grown(by, shape)
    assert PixelBox(0, 0, 16, 17).intersect(grown) == grown
    assert grown.intersect(box) == box.intersect(PixelBox(0, 0, 16, 17))


@given(st.floats(0.05, 50.0), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_map_and_pixels_go_both_ways(size: float, x: float, y: float) -> None:
    grid = PixelGrid(Shape2d(5, 7), Affine(size, 0, x, 0, -size, y))
    column, row = grid.to_pixels(shapely.Point(grid.x[3], grid.y[2])).coords[0]
    np.testing.assert_allclose((column, row), (3.5, 2.5), atol=1e-4)
    part = grid.part(PixelBox(2, 3, 1, 1))
    np.testing.assert_allclose([part.x[0], part.y[0]], [grid.x[3], grid.y[2]])
    np.testing.assert_allclose(grid.place(part), (3.0, 2.0), atol=1e-4)


def test_same_pixels() -> None:
    grid = PixelGrid(Shape2d(5, 7), Affine(2, 0, 10, 0, -2, 20))
    assert grid.same_pixels(PixelGrid(Shape2d(5, 7), Affine(2, 0, 10.05, 0, -2, 20)))
    assert not grid.same_pixels(PixelGrid(Shape2d(5, 7), Affine(2, 0, 11, 0, -2, 20)))
    assert not grid.same_pixels(PixelGrid(Shape2d(5, 7), Affine(2.2, 0, 10, 0, -2, 20)))
    assert not grid.same_pixels(PixelGrid(Shape2d(7, 5), grid.transform))


def test_pixel_positions_count_from_the_upper_left_corner() -> None:
    grid = PixelGrid(Shape2d(2, 3), PIXELS)
    assert (grid.x.tolist(), grid.y.tolist()) == ([0.5, 1.5, 2.5], [0.5, 1.5])
    assert PixelWindow(1, 2, 4).box == PixelBox(1, 2, 4, 4)
    assert str(grid.shape) == "2 rows × 3 columns"
    assert grid.shape.pixels == pytest.approx(6)
