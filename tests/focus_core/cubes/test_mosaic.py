import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine

from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.cubes.mosaic import Part, mosaic, place
from focus_core.errors import CubeError


def grid(rows: int, cols: int, x: float = 0.0, y: float = 0.0, size: float = 2.0) -> PixelGrid:
    return PixelGrid(Shape2d(rows, cols), Affine(size, 0, x, 0, -size, y))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4
    ),
    st.integers(3, 8),
)
def test_first_file_wins_and_gaps_are_missing(places: list[tuple[int, int, int, int]], chunk: int) -> None:
    grids = [(f"f{i}", grid(rows, cols, 2.0 * col, -2.0 * row)) for i, (row, col, rows, cols) in enumerate(places)]
    whole, boxes = place(grids)
    expected = np.full((2, whole.shape.rows, whole.shape.cols), np.nan, np.float32)
    parts = []
    for index, box in reversed(list(enumerate(boxes))):
        values = np.full((2, box.rows, box.cols), index, np.float32)
        if values.size > 2 and index == 0:
            values[:, 0, 0] = np.nan  # a missing pixel lets the file below show
        parts.insert(0, Part(da.from_array(values, chunks=(-1, 4, 4)), box))
        part = expected[:, box.slices[0], box.slices[1]]
        np.copyto(part, values, where=np.isfinite(values))
    found = mosaic(parts, whole.shape, chunk_px=chunk)
    assert found.chunks[0] == (2,)
    assert max(found.chunks[1]) <= chunk
    np.testing.assert_array_equal(found.compute(), expected)


def test_grid_of_all_files_starts_at_the_upper_left() -> None:
    whole, boxes = place([("a", grid(4, 5, 10.0, 30.0)), ("b", grid(2, 3, 4.0, 34.0))])
    assert (whole.transform.c, whole.transform.f) == (4.0, 34.0)
    assert boxes == [PixelBox(2, 3, 4, 5), PixelBox(0, 0, 2, 3)]
    assert whole.shape == Shape2d(6, 8)


def test_a_position_with_a_digit_too_many_asks_for_no_empty_grid() -> None:
    near = ("b", grid(400, 500, x=40_000.0))
    found, _ = place([("a", grid(400, 500)), near, ("c", grid(400, 500, x=80_000.0))])  # a season's strip is wide
    assert found.shape.rows == 400
    with pytest.raises(
        CubeError, match=r"c: lies so far from a that both need a grid of .* cover 7e-05; correct 'grid'"
    ):
        place([("a", grid(400, 500)), near, ("c", grid(400, 500, x=4e7))])


def test_other_pixels_are_refused() -> None:
    with pytest.raises(CubeError, match="b: pixels of"):
        place([("a", grid(4, 5)), ("b", grid(4, 5, size=3.0))])
    with pytest.raises(CubeError, match=r"b: shifted by \(0\.50, 0\.00\) px against a"):
        place([("a", grid(4, 5)), ("b", grid(4, 5, x=1.0))])
