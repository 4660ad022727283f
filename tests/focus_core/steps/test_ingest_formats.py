"""Campaigns whose raw cubes are no ENVI files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from focus_core.config import IngestSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import record
from focus_core.cubes.schema import CUBE
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, MissingInputError
from focus_core.steps.ingest import ingest
from tests.focus_core.cubes.small_campaign import Field, make_field


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")


def run(campaign: Path, out: Path) -> Metrics:
    return ingest(str(campaign), str(out / "cube.zarr"), str(out / "reference.zarr"), settings=IngestSettings())


def test_a_cube_store_is_a_raw_cube_again(field: Field, tmp_path: Path) -> None:
    run(field.campaign, field.folder)
    field.write(cubes=[{"image": "cube.zarr"}])
    run(field.campaign, tmp_path / "again")
    first, again = (
        xr.open_zarr(folder / "cube.zarr", consolidated=False, mask_and_scale=False)
        for folder in (field.folder, tmp_path / "again")
    )
    xr.testing.assert_equal(first, again)
    assert set(record(tmp_path / "again" / "cube.zarr")["inputs"]) == {"campaign", str(field.folder / "cube.zarr")}
    with pytest.raises(CampaignError, match=r"yaml:\d+: quantity: is radiance, but cube.zarr holds reflectance"):
        run(field.write(quantity="radiance").campaign, tmp_path / "out")
    with pytest.raises(MissingInputError, match=r"cubes\.0\.image: no file .*reflectance"):
        run(field.write(cubes=[{"image": "cube.zarr/reflectance/c"}]).campaign, tmp_path / "out")


def test_a_change_in_a_raw_store_is_noticed(field: Field, tmp_path: Path) -> None:
    run(field.campaign, field.folder)
    field.write(cubes=[{"image": "cube.zarr"}])
    first = run(field.campaign, tmp_path / "again")
    store = field.folder / "cube.zarr"
    cube = xr.open_zarr(store, consolidated=False).load()
    cube["reflectance"][:, 0, 0] = np.nan
    cube.to_zarr(store, mode="w", consolidated=False)
    assert run(field.campaign, tmp_path / "again")["invalid_pixels"] == first["invalid_pixels"] + 1


def test_a_leaf_of_many_pages_on_a_ground_of_zeros(field: Field, tmp_path: Path) -> None:
    """HyperLeaf2024's layout: pages of uint16, zero beside the leaf, wavelengths in the campaign file only."""
    counts = (field.reflectance * 60_000).round().astype(np.uint16)
    counts[:, :, :10] = 0
    counts[3, 20, 30] = 0
    pages = [Image.fromarray(page) for page in counts]
    pages[0].save(field.folder / "00001.tiff", save_all=True, append_images=pages[1:])
    leaf: dict[str, Any] = {
        "image": "00001.tiff",
        "scale": 1 / 60_000,
        "wavelengths": {"first_nm": 400, "last_nm": 1000},
        "background": 0,
    }
    field.write(cubes=[leaf], crs=None, masks=None, plots={"file": "plots.geojson"})
    metrics = run(field.campaign, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    found = cube["reflectance"].to_numpy()
    assert np.isnan(found[:, :, :10]).all()
    np.testing.assert_allclose(found[:, :, 10:], counts[:, :, 10:] / 60_000, atol=0.51e-4)
    assert metrics["invalid_pixels"] == 10 * found.shape[1]
    assert cube["wavelength"].to_numpy()[[0, -1]].tolist() == [400, 1000]
    assert cube.attrs["sources"][0]["wavelengths"] == "nm in the campaign file"


def test_a_cube_on_the_bands_of_a_model(field: Field, tmp_path: Path) -> None:
    asked = {"wavelengths": [600.0, 800.0, 1100.0, 2000.0], "fwhm_nm": 120.0}
    metrics = run(field.write(resample_to=asked).campaign, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    assert cube["wavelength"].to_numpy().tolist() == asked["wavelengths"]
    assert metrics["bands"] == 4
    assert metrics["group_leakage_max"] == pytest.approx(max(cube.attrs["group_leakage"]), abs=1e-3)
    assert cube.attrs["group_leakage"][0] > 0.5  # most of 600 nm comes from the band at 590 nm, which is green
    assert cube.attrs["group_leakage"][2] == 0.0
    assert cube["reflectance"].shape == (4, *field.reflectance.shape[1:])


def test_no_way_leads_out_of_the_folder(field: Field, tmp_path: Path) -> None:
    run(field.campaign, tmp_path / "elsewhere")
    (field.folder / "linked.zarr").symlink_to(tmp_path / "elsewhere" / "cube.zarr")
    first = field.content["cubes"][0]
    for entry, key in (
        ({"image": "linked.zarr"}, r"cubes\.0\.image"),
        ({"image": "../elsewhere/cube.zarr"}, r"cubes\.0\.image"),
        (first | {"other_cameras": [{"image": "../elsewhere/cube.zarr"}]}, r"cubes\.0\.other_cameras\.0\.image"),
        (first | {"other_cameras": [first | {"dark": "/etc/passwd"}]}, r"cubes\.0\.other_cameras\.0\.dark"),
    ):
        with pytest.raises(CampaignError, match=rf"campaign\.yaml:\d+: {key}: '.*' leads outside"):
            run(field.write(cubes=[entry]).campaign, tmp_path / "out")
