"""From ``cube.zarr`` and plots to ``tiles.zarr``."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.features
import xarray as xr

from focus_core.config import CampaignFile, IngestSettings, TileSettings
from focus_core.cubes.plots import read_plots
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import record, verify
from focus_core.cubes.schema import CUBE, TILES
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, MissingInputError, StoreError, TargetError
from focus_core.steps.ingest import ingest
from focus_core.steps.tile import tile
from tests.focus_core.cubes.small_campaign import Field, X, Y, make_field, plot, square, write_plots

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")


def ingested(campaign: Path, out: Path, chunk_px: int = 16) -> Path:
    ingest(
        str(campaign), str(out / "cube.zarr"), str(out / "reference.zarr"), settings=IngestSettings(chunk_px=chunk_px)
    )
    return out


def run(campaign: Path, out: Path, **settings: float) -> Metrics:
    return tile(
        str(campaign), str(out / "cube.zarr"), str(out / "tiles.zarr"), settings=TileSettings(**settings)  # type: ignore[arg-type]
    )  # fmt: skip


def as_analysts_do(tiles: Path) -> xr.Dataset:
    return xr.open_zarr(tiles, consolidated=False).load()


@pytest.fixture
def out(field: Field, tmp_path: Path) -> Path:
    return ingested(field.campaign, tmp_path)


def test_pixels_are_those_of_the_cube_inside_the_plot(field: Field, out: Path) -> None:
    run(field.campaign, out)
    cube, tiles = open_store(out / "cube.zarr", CUBE).load(), as_analysts_do(out / "tiles.zarr")
    for index in range(0, tiles.sizes["tile"], 5):
        one = tiles.isel(tile=index)
        rows, cols = (slice(int(one[key]), int(one[key]) + 8) for key in ("row", "col"))
        expected, found = cube["reflectance"][:, rows, cols].to_numpy(), one["reflectance"].to_numpy()
        kept = np.isfinite(found).all(axis=0)
        np.testing.assert_array_equal(found[:, kept], expected[:, kept])
        assert np.isnan(found[:, ~kept]).all()
        assert kept.mean() == one["valid_fraction"]
        assert one["coverage"] <= 64


def test_coordinates_and_attributes(field: Field, out: Path) -> None:
    metrics = run(field.campaign, out)
    tiles = open_store(out / "tiles.zarr", TILES)
    assert tiles.sizes["tile"] == metrics["tiles"] == 8 * 6
    assert {
        str(name)[-1]: int(label) for name, label in zip(tiles["plot"].values, tiles["label"].values, strict=True)
    } == {
        "c": 0,
        "d": 1,
    }
    assert tiles.attrs["classes"] == ["control", "drought"]
    assert tiles.attrs["reference_class"] == "control"
    assert tiles.attrs["groups"]["red"] == [600.0, 680.0]
    assert tiles.attrs["input_px"] == 8
    assert tiles.attrs["transform"] == [0.5, 0.0, 412_000.0, 0.0, -0.5, 5_821_000.0]
    assert "32633" in tiles.attrs["crs"]
    assert tiles.attrs["summary"]["tiles"] == metrics["tiles"]
    assert all(metrics[f"tiles.{fold}"] == 12 for fold in ("train", "validation", "gate", "test"))
    assert all(np.isfinite(value) for value in metrics.values())


def test_trimmed_plots_have_windows_without_their_edges(field: Field, out: Path) -> None:
    plots = read_plots(CampaignFile(field.campaign))
    left: dict[str, set[tuple[int, int]]] = {}
    for asked in ({}, {"buffer_m": -1.0}, {"border_rows": 2, "row_m": 0.5}):
        run(field.campaign, out, **asked)
        tiles = as_analysts_do(out / "tiles.zarr")
        kept = tiles.isel(tile=tiles["plot"].to_numpy().astype(object).astype(str) == plots.index[0])
        pixels = {
            (int(first) + int(row), int(left_col) + int(col))
            for first, left_col, values in zip(kept["row"], kept["col"], kept["reflectance"], strict=True)
            for row, col in np.argwhere(np.isfinite(values.to_numpy()).all(axis=0))
        }
        left[str(asked)] = pixels
    whole, inner, between = left.values()
    rows, cols = (sorted({pixel[axis] for pixel in whole}) for axis in (0, 1))
    assert len(rows) > len(cols)  # so that crop rows run along y
    for found, down, across in ((inner, rows[2:-2], cols[2:-2]), (between, rows, cols[2:-2])):
        box = {(row, col) for row in down for col in across} & whole
        corners = {(row, col) for row in (down[0], down[-1]) for col in (across[0], across[-1])}
        assert box - corners <= found <= box  # less than half of a corner's pixel may be covered


def test_plots_fold_whole_blocks(field: Field, out: Path) -> None:
    run(field.campaign, out)
    tiles = open_store(out / "tiles.zarr", TILES)
    folds = {(str(name)[:2], str(fold)) for name, fold in zip(tiles["plot"].values, tiles["fold"].values, strict=True)}
    assert len(folds) == 4
    assert len({fold for _, fold in folds}) == 4


def test_statistics_are_those_of_training_pixels_each_once(field: Field, out: Path) -> None:
    run(field.campaign, out)
    tiles = as_analysts_do(out / "tiles.zarr")
    pixels: dict[tuple[int, int], np.ndarray] = {}
    for index in np.flatnonzero(tiles["fold"].to_numpy().astype(object).astype(str) == "train"):
        one = tiles.isel(tile=index)
        values = one["reflectance"].to_numpy()
        for row, col in np.argwhere(np.isfinite(values).all(axis=0)):
            pixels[int(one["row"]) + int(row), int(one["col"]) + int(col)] = values[:, row, col]
    spectra = np.array(list(pixels.values()), dtype=np.float64)
    assert (spectra >= tiles["band_low"].to_numpy()).all()
    assert (spectra <= tiles["band_high"].to_numpy()).all()
    np.testing.assert_allclose(tiles["band_mean"], spectra.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(tiles["band_std"], spectra.std(axis=0), rtol=1e-4)


def test_one_tile_a_chunk_and_whole_shards(field: Field, out: Path) -> None:
    run(field.campaign, out, tiles_per_shard=20)
    raw = xr.open_zarr(out / "tiles.zarr", consolidated=False, mask_and_scale=False)
    encoding = raw["reflectance"].encoding
    assert encoding["chunks"] == (1, 24, 8, 8)
    assert encoding["shards"] == (20, 24, 8, 8)
    assert len([path for path in (out / "tiles.zarr" / "reflectance" / "c").rglob("*") if path.is_file()]) == 3
    few = open_store(out / "tiles.zarr", TILES)["reflectance"].to_numpy()
    run(field.campaign, out, tiles_per_shard=7)
    np.testing.assert_array_equal(open_store(out / "tiles.zarr", TILES)["reflectance"], few)


def test_a_stored_chunk_is_decoded_once(field: Field, out: Path) -> None:
    metrics = run(field.campaign, out)
    assert metrics["chunks_decoded"] <= 3 * 4
    unique = metrics["bytes"] - metrics["bytes_copied_again"]
    assert unique == 8 * 15 * 11 * 24 * 2 or unique < metrics["bytes"]


def test_a_rerun_is_no_rerun_and_lineage_is_kept(field: Field, out: Path) -> None:
    first = run(field.campaign, out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "tiles.zarr").rglob("*")}
    assert run(field.campaign, out) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in (out / "tiles.zarr").rglob("*")}
    verify(out / "tiles.zarr")
    assert record(out / "tiles.zarr")["inputs"]["cube"] == record(out / "cube.zarr")["digest"]


def test_unlabelled_campaigns(field: Field, out: Path) -> None:
    field.write(plots={"file": "plots.geojson", "label": None})
    ingested(field.campaign, out)
    run(field.campaign, out)
    assert (open_store(out / "tiles.zarr", TILES)["label"] == -1).all()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (plot("far", "control", "B9", square(300, 5, 10, 10)), "plot 'far' lies outside the image"),
        (plot("P0c", "control", "B9", square(3, 5, 10, 10)), "two plots have one id: P0c"),
        (
            plot("over", "control", "B9", square(3, 5, 10, 10)),
            r"'over' .* and 'P0c' .* share pixels across folds",
        ),
    ],
)
def test_wrong_plots_are_refused_and_leave_nothing(field: Field, out: Path, extra: dict, message: str) -> None:
    field.plots.append(extra)
    with pytest.raises(CampaignError, match=message):
        run(field.write_plots().campaign, out)
    assert sorted(path.name for path in out.iterdir()) == ["cube.zarr", "field", "reference.zarr"]


def test_a_class_without_a_training_plot_is_refused(field: Field, out: Path) -> None:
    for item in field.plots:
        if item["properties"]["label"] == "drought":
            item["properties"]["label"] = None
    with pytest.raises(CampaignError, match=r"campaign\.yaml:\d+: classes: class 'drought' has no training plot"):
        run(field.write_plots().campaign, out)
    assert not (out / "tiles.zarr").exists()


def test_another_campaigns_cube_is_refused(field: Field, out: Path) -> None:
    field.write(campaign="other-field")
    with pytest.raises(StoreError, match=r"'small-field', but campaign\.yaml says 'other-field'; run ingest again"):
        run(field.campaign, out)
    field.write(campaign="small-field", quantity="radiance", cubes=[{"image": "strip-1.raw"}])
    with pytest.raises(StoreError, match=r"quantity 'reflectance', but campaign\.yaml says 'radiance'"):
        run(field.campaign, out)
    field.write(quantity="reflectance", crs="EPSG:32632")
    write_plots(field.folder / "plots.geojson", field.plots, epsg=32632)
    with pytest.raises(StoreError, match=r"lies in EPSG:32633, but campaign\.yaml says EPSG:32632; run ingest again"):
        run(field.campaign, out)


def test_plots_on_each_other_are_told(field: Field, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(field.campaign, out)["pixels_shared"] == 0
    again = plot("again", "drought", "B1", square(20, 4, 8, 15))
    field.write_plots([*field.plots, again])
    metrics = run(field.campaign, out)
    inside = np.zeros((48, 60), dtype=int)
    for one in read_plots(CampaignFile(field.campaign)).geometry:
        inside += rasterio.features.rasterize([one], inside.shape, transform=rasterio.Affine(0.5, 0, X, 0, -0.5, Y))
    assert metrics["pixels_shared"] == pytest.approx((inside > 1).sum(), rel=0.1)
    assert metrics["pixels_shared"] > 50
    assert f"{metrics['pixels_shared']:.0f} pixels lie in more than one plot" in caplog.text


@pytest.mark.parametrize("part", ["reflectance", "valid"])
def test_a_cube_that_lost_a_chunk_is_refused(field: Field, out: Path, part: str) -> None:
    next(path for path in (out / "cube.zarr" / part / "c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(StoreError, match=r"lost.*; remove (it|the cube) and run ingest again"):
        run(field.campaign, out)


def test_no_cube_and_no_target(field: Field, out: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="does not exist or is not finished"):
        run(field.campaign, tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetError, match="cannot be written"):
        tile(str(field.campaign), str(out / "cube.zarr"), str(tmp_path / "file" / "t"), settings=TileSettings())


def test_a_class_that_a_fold_lacks_is_told(field: Field, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(field.campaign, out)
    assert "has no window of" not in caplog.text
    field.plots[5]["properties"]["label"] = "control"
    assert field.plots[5]["properties"]["plot"] == "P2d"
    field.write_plots()
    run(field.campaign, out)
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert told.message.startswith("small-field: the fold 'validation' has no window of drought, and its figures leave")


def test_real_salinas_has_every_class_in_every_fold(real_data: Path, tmp_path: Path) -> None:
    campaign = CAMPAIGNS / "salinas_a.yaml"
    metrics = run(campaign, ingested(campaign, tmp_path, 256))
    tiles = as_analysts_do(tmp_path / "tiles.zarr")
    found = {(int(label), str(fold)) for label, fold in zip(tiles["label"].values, tiles["fold"].values, strict=True)}
    assert len(found) == 6 * 4
    assert metrics["tiles"] > 1000
    assert metrics["dropped.guard"] > 0
    # One window lies between windows of two folds.
    assert least_gap(tiles, (83, 86)) >= 4


def least_gap(tiles: xr.Dataset, shape: tuple[int, int]) -> int:
    """Pixels between the windows of any two folds."""
    size = tiles.sizes["ty"]
    fold = tiles["fold"].to_numpy().astype(object).astype(str)
    good = int(np.flatnonzero(tiles["good_band"])[0])
    masks = np.isfinite(tiles["reflectance"][:, good].to_numpy())
    owner = np.full(shape, "", dtype="U10")
    for row, col, name, mask in zip(tiles["row"].values, tiles["col"].values, fold, masks, strict=True):
        part = owner[row : row + size, col : col + size]
        assert set(part[mask]) <= {"", name}
        part[mask] = name
    gaps = []
    for name in ("train", "validation", "gate", "test"):
        own, other = np.argwhere(owner == name), np.argwhere((owner != name) & (owner != ""))
        gaps.append(np.abs(own[:, None, :] - other[None, :, :]).max(axis=2).min() - 1)
    return int(min(gaps))


def test_real_enmap_windows_hold_the_pixels_of_their_class(real_data: Path, tmp_path: Path) -> None:
    """Labels and spectra of each window as GDAL reads them from the tiles themselves."""
    campaign = CAMPAIGNS / "enmap_landcover.yaml"
    metrics = run(campaign, ingested(campaign, tmp_path, 64))
    tiles = as_analysts_do(tmp_path / "tiles.zarr")
    assert (metrics["plots_cut"], metrics["dropped.guard"] > 0) == (0, True)
    number, spectra = np.zeros((192, 96)), np.full((2, 192, 96), np.nan)
    for path in (real_data / "enmap_potsdam_tiles" / "labels").glob("*.tif"):
        with rasterio.open(path) as file:
            row, col = round((5_809_965 - file.transform.f) / 30), round((file.transform.c - 366_015) / 30)
            number[row : row + 32, col : col + 32] = file.read(1)
        with rasterio.open(path.parents[1] / "images" / path.name) as file:
            found = [float(file.tags(band)["wavelength"]) for band in file.indexes]
            chosen = [int(np.abs(np.array(found) - nm).argmin()) for nm in (665, 1650)]
            spectra[:, row : row + 32, col : col + 32] = 1e-4 * file.read([band + 1 for band in chosen])
    bands = [int(np.abs(tiles["wavelength"].to_numpy() - nm).argmin()) for nm in (665, 1650)]
    for one in (tiles.isel(tile=index) for index in range(tiles.sizes["tile"])):
        rows, cols = (slice(int(one[key]), int(one[key]) + 4) for key in ("row", "col"))
        kept = np.isfinite(one["reflectance"][bands[0]].to_numpy())
        assert kept.sum() == round(16 * float(one["valid_fraction"])) >= 4
        assert set(number[rows, cols][kept]) == {(1, 2, 3, 4, 6)[int(one["label"])]}
        values = one["reflectance"][bands].to_numpy()[:, kept]
        np.testing.assert_allclose(values, spectra[:, rows, cols][:, kept], atol=0.51e-4)
    # Every class in every fold, at least so many windows.
    fold = tiles["fold"].to_numpy().astype(object).astype(str)
    counts = [((tiles["label"] == label).to_numpy() & (fold == name)).sum() for label in range(5) for name in set(fold)]
    assert (len(counts), min(counts) >= 4) == (20, True)
    assert least_gap(tiles, (192, 96)) >= 2


def test_real_enmap_and_maize(real_data: Path, tmp_path: Path) -> None:
    enmap = run(CAMPAIGNS / "enmap.yaml", ingested(CAMPAIGNS / "enmap.yaml", tmp_path / "enmap", 64))
    assert (enmap["plots"], enmap["plots_without_tile"], enmap["dropped.invalid"]) == (8, 0, 0)
    tiles = open_store(tmp_path / "enmap" / "tiles.zarr", TILES)
    assert tiles["coverage"].sum() > 0.9 * 64 * tiles.sizes["tile"]
    maize = run(CAMPAIGNS / "maize.yaml", ingested(CAMPAIGNS / "maize.yaml", tmp_path / "maize"))
    assert (maize["plots"], maize["plots_cut"]) == (2, 0)
    tiles = open_store(tmp_path / "maize" / "tiles.zarr", TILES)
    assert (tiles["label"] == -1).all()
    assert tiles.attrs["crs"] == ""
