from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from focus_core.cubes.axes import PixelBox, PixelGrid, Shape2d
from focus_core.cubes.plots import read_plots
from focus_core.cubes.schema import FILL
from focus_core.cubes.tiling import USUAL_STDS, BandStatistics, BlockReader, tile_campaign
from focus_core.errors import CampaignError
from tests.focus_core.cubes.small_campaign import COLS, ROWS, TRANSFORM, Field


@pytest.fixture
def stored(tmp_path: Path) -> zarr.Array:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(3, 20, 25), chunks=(2, 8, 8), dtype="i2")
    array[:] = np.random.default_rng(0).integers(-99, 99, (3, 20, 25))
    return array


def test_any_box_is_read_and_a_chunk_once(stored: zarr.Array) -> None:
    reader, whole = BlockReader(stored), stored[:]
    for row in range(0, 16, 3):
        for col in range(0, 20, 3):
            box = PixelBox(row, col, 4, 5)
            np.testing.assert_array_equal(reader.read(box), whole[:, row : row + 4, col : col + 5])
    assert reader.decoded == 3 * 3


@given(arrays.arrays(np.int16, (2, 30), elements=st.integers(FILL, 32767)))
def test_statistics_are_exact_over_usual_numbers(values: np.ndarray) -> None:
    statistics = BandStatistics(2)
    statistics.add(values[:, :11])
    statistics.add(values[:, 11:])
    found = statistics.scaled(0.5)
    for band in range(2):
        kept, limits = [], []
        for part in (values[band, :11], values[band, 11:]):
            known = np.sort(part[part != FILL]).astype(np.float64)
            if len(known):
                low, middle, high = (known[int(share * len(known))] for share in (0.1, 0.5, 0.9))
                reach = USUAL_STDS * max((high - low) / 2.563, 1.0, 0.01 * abs(middle))
                limits += [middle - reach, middle + reach]
                kept += [value for value in known if abs(value - middle) <= reach]
        if not kept:
            assert [found[name][band] for name in ("mean", "std", "low", "high")] == [0.0, 1.0, -np.inf, np.inf]
            continue
        np.testing.assert_allclose(found["mean"][band], 0.5 * np.mean(kept), atol=1e-9)
        np.testing.assert_allclose([found["low"][band], found["high"][band]], [0.5 * min(limits), 0.5 * max(limits)])
        if np.std(kept) > 2.0:
            np.testing.assert_allclose(found["std"][band], 0.5 * np.std(kept), rtol=1e-6)


def test_a_sheet_in_every_plot_is_not_usual_and_a_class_is() -> None:
    rng = np.random.default_rng(0)
    statistics, crops = BandStatistics(1), []
    for level in (4000, 4200, 900):  # two of vegetation and one of water
        plot = rng.normal(level, 0.05 * level, (1, 400)).astype(np.int16)
        crops.append(plot.copy())
        plot[:, :30] = 9000
        statistics.add(plot)
    found = statistics.scaled(1e-4)
    assert found["high"][0] < 0.9
    assert found["low"][0] < 0.05
    within = np.concatenate([plot[0, 30:] for plot in crops]) * 1e-4
    np.testing.assert_allclose(found["mean"][0], within.mean())
    np.testing.assert_allclose(found["std"][0], within.std())


def tiling_of(field: Field, valid: np.ndarray | None = None):
    file = field.file()
    return tile_campaign(
        file,
        read_plots(file),
        PixelGrid(Shape2d(ROWS, COLS), TRANSFORM),
        np.ones((ROWS, COLS), dtype=bool) if valid is None else valid,
        min_valid_fraction=0.25,
        block_px=32,
    )


def test_no_pixel_lies_in_windows_of_two_folds(field: Field) -> None:
    tiling = tiling_of(field)
    seen: dict[tuple[int, int], str] = {}
    for tile in tiling.tiles:
        inside = tile.plot.inside
        common = tile.window.box.intersect(tile.plot.box)
        assert common is not None
        rows, cols = common.within(tile.plot.box).slices
        for down, across in np.argwhere(inside[rows, cols]):
            pixel = (common.row + int(down), common.col + int(across))
            assert seen.setdefault(pixel, tile.plot.fold) == tile.plot.fold
    assert set(seen.values()) == {"train", "validation", "gate", "test"}


def test_a_class_without_a_training_plot_is_named(field: Field) -> None:
    plots = read_plots(field.file())
    plots.loc[plots["label"] == 1, "fold"] = "test"
    with pytest.raises(CampaignError, match=r"classes: class 'drought' has no training plot .* none of its 4"):
        tile_campaign(
            field.file(), plots, PixelGrid(Shape2d(ROWS, COLS), TRANSFORM), np.ones((ROWS, COLS), dtype=bool),
            min_valid_fraction=0.25, block_px=32,
        )  # fmt: skip


def test_a_class_without_any_plot_is_named(field: Field) -> None:
    field.write(classes=["control", "drought", "rust"])
    with pytest.raises(CampaignError, match=r"class 'rust' has no training plot with a window: no plot at all"):
        tiling_of(field)


def test_a_class_whose_training_windows_all_fall_away_is_named(field: Field) -> None:
    plots = read_plots(field.file())
    name = plots[(plots["fold"] == "train") & (plots["label"] == 1)].index[0]
    valid = np.ones((ROWS, COLS), dtype=bool)
    valid[24:40, 14 * int(name[1]) : 14 * int(name[1]) + 16] = False
    with pytest.raises(CampaignError, match=rf"no window left in its training plots \['{name}'\]"):
        tiling_of(field, valid)


def test_unlabelled_campaigns_need_no_training_plot(field: Field) -> None:
    field.write(plots={"file": "plots.geojson", "label": None})
    assert {tile.plot.label for tile in tiling_of(field).tiles} == {-1}


def test_windows_larger_than_the_image_are_refused(field: Field) -> None:
    field.write(window={"size_px": 50})
    with pytest.raises(CampaignError, match=r"window\.size_px: is 50, but the image has 48 rows × 60 columns"):
        tiling_of(field)


def test_no_window_left_says_why(field: Field) -> None:
    with pytest.raises(CampaignError, match="no window is left: 0 lie in the guard, 48 hold too few valid pixels"):
        tiling_of(field, np.zeros((ROWS, COLS), dtype=bool))
