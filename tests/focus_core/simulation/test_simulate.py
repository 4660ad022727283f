from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from focus_core.config import CampaignFile, RawFile
from focus_core.cubes.calibrate import with_references
from focus_core.cubes.readers import open_raw
from focus_core.cubes.record import digest, verify
from focus_core.cubes.schema import REFERENCE
from focus_core.cubes.store import open_store
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import TargetError
from focus_core.simulation import simulate
from focus_core.simulation.flight import within
from focus_core.simulation.layout import CLASSES
from focus_core.simulation.sensor import PANEL_REFLECTANCE, WATER_WINDOWS_NM, calibrate

FLIGHTS = ("flight-1", "flight-2")


@pytest.fixture(params=FLIGHTS)
def flight(request, tiny_folder):
    return tiny_folder / request.param


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def envi(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs, file.tags(ns="ENVI")


def counts_of(path):
    """Read a scan without GDAL, which warns of references that lie nowhere."""
    header = dict(line.split(" = ", 1) for line in path.with_suffix(".hdr").read_text().splitlines() if " = " in line)
    lines, bands, samples = (int(header[key]) for key in ("lines", "bands", "samples"))
    return np.fromfile(path, "<u2").reshape(lines, bands, samples)


def test_the_same_settings_give_the_same_bytes(tiny, tiny_folder, tmp_path):
    simulate(str(tmp_path / "again"), settings=tiny)
    assert contents(tmp_path / "again") == contents(tiny_folder)
    verify(tmp_path / "again")


def test_another_seed_gives_other_counts_in_the_same_shape(tiny, tiny_folder, tmp_path):
    simulate(str(tmp_path / "other"), settings=tiny.model_copy(update={"seed": 1}))
    name = "flight-1/strip-1.raw"
    first, second = ((folder / name).read_bytes() for folder in (tiny_folder, tmp_path / "other"))
    assert len(first) == len(second)
    assert first != second


def test_a_rerun_writes_nothing(tiny, tiny_folder):
    before = {path: path.stat().st_mtime_ns for path in tiny_folder.rglob("*")}
    metrics = simulate(str(tiny_folder), settings=tiny)
    assert before == {path: path.stat().st_mtime_ns for path in tiny_folder.rglob("*")}
    assert metrics["plots"] == 16.0


def test_a_folder_of_other_settings_is_refused_and_left_alone(tiny, tiny_folder):
    before = contents(tiny_folder)
    with pytest.raises(TargetError, match="another settings; choose another folder"):
        simulate(str(tiny_folder), settings=tiny.model_copy(update={"noise": 2.0}))
    assert contents(tiny_folder) == before


def test_a_folder_with_other_files_is_refused(tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TargetError, match="was not written by focus"):
        simulate(str(tmp_path), settings=tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_campaign_files_are_valid_and_say_simulated(flight):
    file = CampaignFile(flight / "campaign.yaml")
    campaign = file.campaign
    assert campaign.simulated
    assert campaign.campaign == f"simulated-{flight.name}"
    assert campaign.reference_class == "control"
    assert len(campaign.cubes) == 2
    assert set(campaign.masks) == set(campaign.ranges_nm) == set(CLASSES) - {"control"}
    assert len(file.inputs()) == 1 + 2 * 3 + 1 + 3
    assert "Simulated" in (flight / "strip-1.hdr").read_text()
    assert digest(flight / "reference.zarr")


def test_both_flights_see_the_same_plots_from_different_grids(tiny_folder):
    first, second = (gpd.read_file(tiny_folder / name / "plots.gpkg") for name in FLIGHTS)
    assert first.crs.to_epsg() == 32633
    assert first.equals(second)
    assert set(first.columns) == {"plot", "label", "block", "geometry"}
    grids = [envi(tiny_folder / name / "strip-1.raw")[1] for name in FLIGHTS]
    assert grids[0] != grids[1]


def test_scans_are_read_by_gdal_and_lie_side_by_side(tiny, flight):
    left, right = (envi(flight / f"strip-{number}.raw") for number in (1, 2))
    for counts, transform, crs, tags in (left, right):
        assert counts.dtype == np.uint16
        assert counts.shape[0] == tiny.bands
        assert counts.max() < 65535
        assert crs.to_epsg() == 32633
        assert transform.a == -transform.e == tiny.pixel_m
        assert tags["wavelength_units"] == "Nanometers"
    assert left[1].c + left[0].shape[2] * tiny.pixel_m == pytest.approx(right[1].c, abs=1e-6)
    with rasterio.open(flight / "mask-drought.tif") as mask:
        assert mask.transform.almost_equals(left[1])
        assert mask.shape == (left[0].shape[1], left[0].shape[2] + right[0].shape[2])


def test_references_are_as_wide_as_their_scan_and_dark_in_the_water_windows(flight):
    wavelength = open_store(flight / "reference.zarr", REFERENCE)["wavelength"].to_numpy()
    for number in (1, 2):
        scan, white, dark = (counts_of(flight / f"strip-{number}{kind}.raw") for kind in ("", "-white", "-dark"))
        assert scan.shape[2] == white.shape[2] == dark.shape[2]
        light = white.mean(axis=(0, 2)) - dark.mean(axis=(0, 2))
        assert light[within(wavelength, WATER_WINDOWS_NM)].max() < 0.05 * np.median(light)


def test_the_products_own_reader_finds_what_the_truth_was_computed_from(flight):
    image, white, dark = (open_raw(flight / f"strip-2{kind}.raw") for kind in ("", "-white", "-dark"))
    order = np.arange(image.bands)
    entry = RawFile(image="x", white="w", dark="d", panel_reflectance=PANEL_REFLECTANCE)
    calibration = with_references(image, white, dark, entry, order)
    read = calibration.apply(image.data).compute()
    own = calibrate(*(counts_of(flight / f"strip-2{kind}.raw") for kind in ("", "-white", "-dark")))
    lit = ~within(decide_wavelengths(image, None).nm, WATER_WINDOWS_NM)
    np.testing.assert_allclose(read[lit], np.moveaxis(own, 1, 0)[lit], atol=1e-5)


def test_masks_cover_part_of_the_plots_of_their_class_only(tiny_folder, flight):
    reference = open_store(flight / "reference.zarr", REFERENCE)
    assert reference["has_mask"].to_numpy().tolist() == [False, True, True, True]
    assert not reference["mask"].isel(cls=0).any()
    area = 4 * 14**2
    for name in CLASSES[1:]:
        with rasterio.open(flight / f"mask-{name}.tif") as file:
            mask = file.read(1)
        np.testing.assert_array_equal(mask != 0, reference["mask"].isel(cls=CLASSES.index(name)))
        assert 0.3 * area < (mask != 0).sum() < 0.8 * area


def test_reference_bands_lie_where_physiology_says(flight):
    reference = open_store(flight / "reference.zarr", REFERENCE).load()
    wavelength = reference["wavelength"].to_numpy()
    chosen = {
        str(name): wavelength[reference["reference"].isel(cls=index)]
        for index, name in enumerate(reference["cls"].values)
    }
    assert len(chosen["control"]) == 0
    assert ((chosen["low_nitrogen"] >= 490) & (chosen["low_nitrogen"] <= 750)).all()
    assert ((chosen["disease"] >= 680) & (chosen["disease"] <= 900)).all()
    assert (chosen["drought"] >= 900).all()
    effect = reference["effect_size"].isel(cls=CLASSES.index("drought")).to_numpy()
    for lo, hi in ((1450.0, 1800.0), (1950.0, 2400.0)):
        assert effect[within(wavelength, ((lo, hi),))].max() > 1.0
    assert within(chosen["drought"], ((1450.0, 1800.0),)).any()
    for band in chosen.values():
        assert not within(band, WATER_WINDOWS_NM).any()


def test_ranges_in_the_campaign_file_give_the_reference_bands(flight):
    reference = open_store(flight / "reference.zarr", REFERENCE).load()
    ranges = CampaignFile(flight / "campaign.yaml").campaign.ranges_nm
    for index, name in enumerate(CLASSES):
        found = within(reference["wavelength"].to_numpy(), tuple(ranges.get(name, [])))
        np.testing.assert_array_equal(found, reference["reference"].isel(cls=index))


def test_null_bands_tell_nothing_about_a_class(flight):
    reference = open_store(flight / "reference.zarr", REFERENCE).load()
    null = reference["null_band"].to_numpy()
    assert null.sum() == 2
    effect = reference["effect_size"].to_numpy()[1:]
    assert effect[:, null].max() < 0.25
    assert (effect.max(axis=1) > 1.5).all()


def test_a_planted_shortcut_shows_in_its_bands_but_is_no_reference(tiny, tiny_folder, tmp_path):
    planted = {"shortcut_class": "low_nitrogen", "shortcut_nm": (860.0, 920.0), "shortcut_share": 1.0}
    simulate(str(tmp_path / "shortcut"), settings=tiny.model_copy(update=planted))
    plain, with_it = (
        open_store(folder / "flight-2" / "reference.zarr", REFERENCE).sel(cls="low_nitrogen").load()
        for folder in (tiny_folder, tmp_path / "shortcut")
    )
    bands = within(plain["wavelength"].to_numpy(), ((860.0, 920.0),))
    assert bands.any()
    assert (with_it["effect_size"][bands] > plain["effect_size"][bands] + 1.0).all()
    assert not with_it["reference"][bands].any()


def test_planted_sheets_are_the_brightest_pixels_and_in_no_mask(tiny, tmp_path):
    simulate(str(tmp_path / "sheets"), settings=tiny.model_copy(update={"collapse": True}))
    flight = tmp_path / "sheets" / "flight-1"
    strips = []
    for number in (1, 2):
        scan, white, dark = (counts_of(flight / f"strip-{number}{kind}.raw") for kind in ("", "-white", "-dark"))
        strips.append(calibrate(scan, white, dark)[:, 5])
    calibrated = np.concatenate(strips, axis=1)
    sheet = calibrated > 0.6
    masks = open_store(flight / "reference.zarr", REFERENCE)["mask"].any("cls").to_numpy()
    assert 16 * 9 * 0.9 < sheet.sum() < 16 * 4 * 9 * 1.1
    assert not (sheet & masks).any()
