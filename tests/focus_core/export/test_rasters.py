import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio import Affine
from rasterio.crs import CRS

from focus_core.errors import StoreError
from focus_core.export.rasters import NO_CLASS, write_maps

SIZE = 12
TEXT = np.dtypes.StringDType()


def explanation(row, col, *, coverage=None, patches=4, seed=0, crs="EPSG:32633"):
    """Windows of 12 pixels, three classes, two groups; the cube's upper left corner lies at 500000, 5400000."""
    rng = np.random.default_rng(seed)
    tiles = len(row)
    logit = rng.normal(size=(tiles, 3))
    return xr.Dataset(
        {
            "logit": (("tile", "cls"), logit),
            "probability": (("tile", "cls"), np.exp(logit) / np.exp(logit).sum(1, keepdims=True)),
            "saliency": (("tile", "cls", "group", "py", "px"), rng.normal(size=(tiles, 3, 2, patches, patches))),
        },
        coords={
            "row": ("tile", np.asarray(row)),
            "col": ("tile", np.asarray(col)),
            "coverage": ("tile", np.ones(tiles) if coverage is None else np.asarray(coverage, dtype=float)),
            "cls": np.array(["control", "drought", "disease"], dtype=TEXT),
            "group": np.array(["red", "swir"], dtype=TEXT),
            "group_lo_nm": ("group", [600.0, 1500.0]),
            "group_hi_nm": ("group", [700.0, 1800.0]),
        },
        attrs={
            "campaign": "flight_1", "model": "models:/focus@champion", "model_digest": "0" * 64,
            "reference_class": "control", "window_px": SIZE, "crs": CRS.from_user_input(crs).to_wkt() if crs else "",
            "transform": [0.5, 0.0, 500_000.0, 0.0, -0.5, 5_400_000.0] if crs else [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        },
    ).chunk({"tile": 2})  # fmt: skip


def write(dataset, folder):
    paths = write_maps(dataset, folder, "explanation.zarr")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    return {path.stem: path for path in paths}


def test_windows_apart_lie_where_they_belong_and_nothing_lies_between(tmp_path):
    dataset = explanation([10, 40], [5, 30])
    paths = write(dataset, tmp_path)
    with rasterio.open(paths["class"]) as file:
        classes = file.read(1)
        assert file.transform == Affine(0.5, 0.0, 500_002.5, 0.0, -0.5, 5_399_995.0)
        assert file.crs == CRS.from_epsg(32633)
        assert file.nodata == NO_CLASS
        assert file.tags()["classes"] == "0 control, 1 drought, 2 disease"
    best = dataset["probability"].argmax("cls").to_numpy()
    assert (classes[:12, :12] == best[0]).all()
    assert (classes[30:, 25:] == best[1]).all()
    assert (classes == NO_CLASS).sum() == classes.size - 2 * SIZE**2
    with rasterio.open(paths["confidence"]) as file:
        confidence = file.read(1)
    np.testing.assert_allclose(confidence[0, 0], dataset["probability"][0].max(), rtol=1e-6)
    assert np.isnan(confidence[classes == NO_CLASS]).all()


@pytest.mark.parametrize("patches", [4, 5])
def test_saliency_keeps_its_sum_and_its_place_whether_or_not_patches_divide_the_window(tmp_path, patches):
    dataset = explanation([0, 20], [0, 20], patches=patches)
    paths = write(dataset, tmp_path)
    with rasterio.open(paths["saliency_drought"]) as file:
        values = file.read()
        assert file.descriptions == ("red 600-700 nm", "swir 1500-1800 nm")
        assert file.tags()["units"] == "logit per pixel"
    wanted = dataset["saliency"].isel(cls=1).to_numpy()
    for tile, corner in enumerate((0, 20)):
        part = values[:, corner : corner + SIZE, corner : corner + SIZE]
        np.testing.assert_allclose(part.sum((1, 2)), wanted[tile].sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(values[:, 0, 0] * round(SIZE / patches + 0.49) ** 2, wanted[0, :, 0, 0], rtol=1e-5)


def test_overlap_is_blended_by_coverage(tmp_path):
    dataset = explanation([0, 4], [0, 6], coverage=[3.0, 1.0])
    paths = write(dataset, tmp_path)
    probability = dataset["probability"].to_numpy()
    mixed = (3 * probability[0] + probability[1]) / 4
    with rasterio.open(paths["confidence"]) as file:
        confidence = file.read(1)
    np.testing.assert_allclose(confidence[4:12, 6:12], mixed.max(), rtol=1e-6)
    np.testing.assert_allclose(confidence[0, 0], probability[0].max(), rtol=1e-6)
    np.testing.assert_allclose(confidence[15, 17], probability[1].max(), rtol=1e-6)


def test_a_long_field_is_blended_across_stripes(tmp_path):
    row, col = (axis.ravel() for axis in np.meshgrid(np.arange(0, 600, 4), [0, 6], indexing="ij"))
    dataset = explanation(row, col, coverage=1.0 + np.arange(len(row)) % 5)
    with rasterio.open(write(dataset, tmp_path)["saliency_disease"]) as file:
        found = file.read()
        assert file.profile["interleave"] in {"pixel", "band"}
    sums, total = np.zeros((2, 608, 18)), np.zeros((608, 18))
    for tile, (top, left) in enumerate(zip(row, col, strict=True)):
        weight = float(dataset["coverage"][tile])
        patches = dataset["saliency"][tile, 2].to_numpy()
        place = (slice(top, top + SIZE), slice(left, left + SIZE))
        sums[(slice(None), *place)] += weight * np.kron(patches, np.ones((3, 3))) / 9
        total[place] += weight
    np.testing.assert_allclose(found, sums / total, rtol=1e-5, atol=1e-7)


def test_the_files_are_arranged_for_the_cloud(tmp_path):
    paths = write(explanation([0, 1500], [0, 1500]), tmp_path)
    with rasterio.open(paths["confidence"]) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1)
        assert file.block_shapes[0] == (512, 512)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_field_without_a_crs_is_mapped_in_pixels(tmp_path):
    with rasterio.open(write(explanation([3], [2], crs=None), tmp_path)["class"]) as file:
        assert file.crs is None
        assert file.transform == Affine(1.0, 0.0, 2.0, 0.0, 1.0, 3.0)


def test_an_explanation_without_places_is_refused(tmp_path):
    dataset = explanation([0], [0])
    del dataset.attrs["transform"]
    with pytest.raises(StoreError, match="does not say where its windows lie; run explain again"):
        write_maps(dataset, tmp_path, "explanation.zarr")
