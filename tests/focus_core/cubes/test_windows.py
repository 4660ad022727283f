from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_core.config.campaign import Window
from focus_core.cubes.axes import PIXELS, PixelBox, PixelGrid, PixelWindow, Shape2d
from focus_core.cubes.plots import read_plots
from focus_core.cubes.windows import PlotPixels, fold_map, plot_pixels, tiles_of_plot, window_grid
from focus_core.errors import CampaignError
from tests.focus_core.cubes.small_campaign import COLS, ROWS, TRANSFORM, Field, plot, square

SHAPE = Shape2d(rows=40, cols=50)
MAP = PixelGrid(Shape2d(ROWS, COLS), TRANSFORM)


def rectangle(box: PixelBox, name: str = "a", fold: str = "train") -> PlotPixels:
    return PlotPixels(name, 0, fold, box, np.ones((box.rows, box.cols), np.float32), cut=False)


def no_folds() -> np.ndarray:
    return np.full((SHAPE.rows, SHAPE.cols), -1, np.int8)


def valid() -> np.ndarray:
    return np.ones((SHAPE.rows, SHAPE.cols), dtype=bool)


boxes = st.builds(PixelBox, st.integers(0, 15), st.integers(0, 20), st.integers(1, 25), st.integers(1, 30))
forms = st.builds(
    Window, size_px=st.integers(4, 12), stride_px=st.integers(1, 12), edge=st.sampled_from(["shift", "drop"])
)


@given(boxes, forms)
def test_windows_stay_in_the_image_and_shift_covers_the_plot(box: PixelBox, form: Window) -> None:
    windows = window_grid(box, form, SHAPE)
    image = PixelBox(0, 0, SHAPE.rows, SHAPE.cols)
    assert len(set(windows)) == len(windows) > 0
    assert all(image.intersect(window.box) == window.box for window in windows)
    if form.edge == "shift" and form.stride_px <= form.size_px:
        covered = np.zeros((SHAPE.rows, SHAPE.cols), dtype=bool)
        for window in windows:
            covered[window.box.slices] = True
        assert covered[box.slices].all()
    if box.rows >= form.size_px and box.cols >= form.size_px:
        assert all(box.intersect(window.box) == window.box for window in windows)


def test_edge_policies() -> None:
    box = PixelBox(2, 3, 13, 8)
    shift = window_grid(box, Window(size_px=8, stride_px=4), SHAPE)
    assert [(w.row, w.col) for w in shift] == [(2, 3), (6, 3), (7, 3)]
    drop = window_grid(box, Window(size_px=8, stride_px=4, edge="drop"), SHAPE)
    assert [(w.row, w.col) for w in drop] == [(2, 3), (6, 3)]
    small = window_grid(PixelBox(0, 20, 4, 4), Window(size_px=8), SHAPE)
    assert small == [PixelWindow(0, 18, 8)]


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1, 40), st.floats(1, 30), st.floats(2, 15), st.floats(2, 15), st.floats(0, 180),
)  # fmt: skip
def test_coverage_adds_up_to_the_area(col: float, row: float, width: float, height: float, angle: float) -> None:
    shape = shapely.affinity.rotate(shapely.box(col, row, col + width, row + height), angle)
    frame = gpd.GeoDataFrame({"label": [0], "block": ["b"], "fold": ["train"]}, geometry=[shape], index=["a"])
    found = plot_pixels(None, frame, PixelGrid(SHAPE, PIXELS))[0] if _touches(shape) else None  # type: ignore[arg-type]
    if found is not None:
        inside = shapely.intersection(shape, shapely.box(0, 0, SHAPE.cols, SHAPE.rows)).area
        np.testing.assert_allclose(found.coverage.sum(dtype=float), inside, rtol=1e-4, atol=1e-4)
        assert found.cut == (inside < shape.area - 1e-9)


def _touches(shape: Any) -> bool:
    return shapely.intersection(shape, shapely.box(0, 0, SHAPE.cols, SHAPE.rows)).area > 0.01


def test_rows_run_down_and_half_covered_pixels_are_shared_out(field: Field) -> None:
    pixels = {item.plot: item for item in plot_pixels(field.file(), read_plots(field.file()), MAP)}
    upper, lower = pixels["P1c"], pixels["P1d"]
    assert (upper.box.row, upper.box.col) == (4, 17)
    assert (lower.box.row, lower.box.col) == (24, 17)
    np.testing.assert_allclose(upper.coverage[0, :3], [0.6 * 0.7, 0.6, 0.6], rtol=1e-4)
    assert upper.inside.sum() == 15 * 11 - 1  # the corner is less than half inside
    assert not upper.inside[-1].any()


def test_a_plot_outside_the_image_is_named(field: Field) -> None:
    field.plots.append(plot("far", "control", "B9", square(200, 5, 10, 10)))
    file = field.write_plots().file()
    with pytest.raises(CampaignError, match="plot 'far' lies outside the image: columns 200 to 210, rows 5 to 15"):
        plot_pixels(file, read_plots(file), MAP)


def test_a_plot_at_the_edge_is_cut_and_says_so(field: Field) -> None:
    field.plots.append(plot("edge", "control", "B9", square(-3, 5, 6, 6)))
    file = field.write_plots().file()
    found = {item.plot: item for item in plot_pixels(file, read_plots(file), MAP)}
    assert found["edge"].cut
    assert found["edge"].box == PixelBox(5, 0, 6, 3)
    assert not found["P0c"].cut


def test_pixels_shared_across_folds_are_refused(field: Field) -> None:
    file = field.file()
    plots = [rectangle(PixelBox(2, 2, 8, 8), "a"), rectangle(PixelBox(9, 9, 8, 8), "b", "test")]
    with pytest.raises(CampaignError, match=r"plots 'b' \(test\) and 'a' \(train\) share pixels across folds"):
        fold_map(file, plots, SHAPE)
    apart = [plots[0], rectangle(PixelBox(10, 10, 8, 8), "b", "test")]
    folds = fold_map(file, apart, SHAPE)
    assert {int(value): int((folds == value).sum()) for value in (-1, 0, 3)} == {-1: 2000 - 128, 0: 64, 3: 64}


@pytest.mark.parametrize("guard", [0, 1, 3])
def test_kept_windows_stand_off_from_other_folds(field: Field, guard: int) -> None:
    own, other = rectangle(PixelBox(2, 2, 20, 20)), rectangle(PixelBox(2, 22, 20, 20), "b", "test")
    folds = fold_map(field.file(), [own, other], SHAPE)
    form = Window(size_px=4, stride_px=1, guard_px=guard)
    tiles, dropped = tiles_of_plot(own, form, folds=folds, valid=valid(), min_valid_fraction=0.5)
    half = (guard + 1) // 2
    assert 22 - max(tile.window.col + 4 for tile in tiles) == half
    assert dropped.guard == 17 * half
    assert len(tiles) + dropped.guard == 17 * 17


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10_000))
def test_pixels_of_different_folds_keep_the_guard(guard: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(0, 5, (5, 6)), np.ones((8, 9), dtype=np.int8)).astype(np.int8)
    ground = np.where(rng.random(ground.shape) < 0.05, 4, ground)[: SHAPE.rows, : SHAPE.cols]
    owner = np.full(ground.shape, -1)
    folds = np.where(ground == 4, -1, ground).astype(np.int8)
    for number, fold in enumerate(("train", "validation", "gate", "test")):
        mask = folds == number
        plot = PlotPixels(fold, 0, fold, PixelBox(0, 0, *mask.shape), mask.astype(np.float32), cut=False)
        form = Window(size_px=4, stride_px=1, guard_px=guard)
        tiles, _ = tiles_of_plot(plot, form, folds=folds, valid=valid(), min_valid_fraction=0.5)
        for tile in tiles:
            owner[tile.window.box.slices][mask[tile.window.box.slices]] = number
    for number in range(4):
        own, other = np.argwhere(owner == number), np.argwhere((owner != number) & (owner != -1))
        if len(own) and len(other):
            assert np.abs(own[:, None] - other[None]).max(axis=2).min() - 1 >= guard


def test_a_plot_sees_the_same_guard_whatever_its_box(field: Field) -> None:
    plots = [rectangle(PixelBox(2, 2, 12, 12)), rectangle(PixelBox(2, 17, 12, 12), "b", "test")]
    folds = fold_map(field.file(), plots, SHAPE)
    form = Window(size_px=4, stride_px=1, guard_px=5)
    kept = [tiles_of_plot(plot, form, folds=folds, valid=valid(), min_valid_fraction=0.5)[0] for plot in plots]
    ends = max(tile.window.col + 4 for tile in kept[0]), min(tile.window.col for tile in kept[1])
    assert 5 <= ends[1] - ends[0] <= 6


def test_invalid_pixels_count_against_a_window_but_not_against_its_area() -> None:
    ok = valid()
    ok[2:10, 2:8] = False
    box = rectangle(PixelBox(2, 2, 8, 16))
    form = Window(size_px=8, stride_px=8)
    tiles, dropped = tiles_of_plot(box, form, folds=no_folds(), valid=ok, min_valid_fraction=0.5)
    assert [(tile.window.col, tile.valid_fraction, tile.coverage) for tile in tiles] == [(10, 1.0, 64.0)]
    assert dropped.invalid == 1
    tiles, dropped = tiles_of_plot(box, form, folds=no_folds(), valid=ok, min_valid_fraction=0.1)
    assert [(tile.valid_fraction, tile.coverage) for tile in tiles] == [(0.25, 64.0), (1.0, 64.0)]


def test_a_plot_below_a_pixel_has_no_window() -> None:
    plot = PlotPixels("a", 0, "train", PixelBox(3, 3, 1, 1), np.full((1, 1), 0.4, np.float32), cut=False)
    assert tiles_of_plot(plot, Window(), folds=no_folds(), valid=valid(), min_valid_fraction=0.1)[0] == []
