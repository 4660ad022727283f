"""From raw files to ``cube.zarr`` and ``reference.zarr``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers `.rio`
import scipy.io
import xarray as xr

from focus_core.config import IngestSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.record import digest, record, verify
from focus_core.cubes.schema import CUBE, REFERENCE
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, CubeError, FocusError, MissingInputError, TargetError
from focus_core.steps.ingest import ingest
from tests.focus_core.cubes.small_campaign import (
    COLS,
    ROWS,
    TRANSFORM,
    WAVELENGTH,
    Field,
    make_field,
    make_reflectance,
    map_info,
    write_envi,
    write_mask,
)

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")


def run(campaign: Path, out: Path, **settings: int) -> Metrics:
    return ingest(
        str(campaign), str(out / "cube.zarr"), str(out / "reference.zarr"), settings=IngestSettings(**settings)
    )


def refused(field: Field, tmp_path: Path, kind: type[FocusError], message: str) -> None:
    """The campaign is refused, and nothing is left where the stores should be."""
    out = tmp_path / "out"
    with pytest.raises(kind, match=message):
        run(field.campaign, out)
    assert not out.exists() or list(out.iterdir()) == []


def test_reflectance_comes_back_from_counts(field: Field, tmp_path: Path) -> None:
    metrics = run(field.campaign, tmp_path, chunk_px=16)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    # Counts are whole numbers: a twenty-thousandth of the panel, and half a step of the store.
    np.testing.assert_allclose(cube["reflectance"].to_numpy(), field.reflectance, atol=1.5e-4)
    np.testing.assert_array_equal(cube["wavelength"], WAVELENGTH)
    assert cube["valid"].all()
    assert metrics["bands"] == metrics["good_bands"] == len(WAVELENGTH)
    assert (metrics["rows"], metrics["cols"], metrics["valid_share"]) == (ROWS, COLS, 1.0)
    assert all(np.isfinite(value) for value in metrics.values())


def test_layout_and_lineage(field: Field, tmp_path: Path) -> None:
    run(field.campaign, tmp_path, chunk_px=16, chunk_bands=7)
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False, mask_and_scale=False)
    assert cube["reflectance"].dtype == np.int16
    assert cube["reflectance"].encoding["chunks"] == (7, 16, 16)
    assert "zstd" in str(cube["reflectance"].encoding["compressors"])
    verify(tmp_path / "cube.zarr")
    found = record(tmp_path / "cube.zarr")
    assert found["settings"] == {"chunk_px": 16, "chunk_bands": 7, "leave_out_damaged": False}
    raw = sorted(path for path in field.folder.glob("strip-*"))
    assert found["inputs"] == {"campaign": digest(field.campaign), **{str(path): digest(path) for path in raw}}
    assert [source["scale"] for source in cube.attrs["sources"]] == [
        "white and dark references, panel reflectance 0.5"
    ] * 2
    assert cube.attrs["simulated"] is False


def test_rioxarray_finds_crs_and_transform(field: Field, tmp_path: Path) -> None:
    run(field.campaign, tmp_path)
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)
    assert cube.rio.crs.to_epsg() == 32633
    assert cube["reflectance"].rio.crs.to_epsg() == 32633
    assert tuple(float(part) for part in cube["spatial_ref"].attrs["GeoTransform"].split()) == TRANSFORM.to_gdal()
    assert (float(cube["x"][0]), float(cube["y"][0])) == (TRANSFORM.c + 0.25, TRANSFORM.f - 0.25)
    assert cube["y"].attrs["units"] == "metre"


def test_a_rerun_reads_no_cube_and_gives_the_same(field: Field, tmp_path: Path) -> None:
    first = run(field.campaign, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert run(field.campaign, tmp_path) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_expert_knowledge_is_kept_apart(field: Field, tmp_path: Path) -> None:
    metrics = run(field.campaign, tmp_path)
    reference = open_store(tmp_path / "reference.zarr", REFERENCE)
    inside = (WAVELENGTH >= 1450) & (WAVELENGTH < 1800)
    np.testing.assert_array_equal(reference["reference"].sel(cls="drought"), inside)
    assert not reference["reference"].sel(cls="control").any()
    np.testing.assert_array_equal(reference["null_band"], (WAVELENGTH >= 700) & (WAVELENGTH < 800))
    assert reference["has_reference"].to_numpy().tolist() == [False, True]
    assert reference["has_mask"].to_numpy().tolist() == [False, True]
    assert reference["mask"].sel(cls="drought").sum() == 16 * COLS == metrics["mask_pixels"]
    assert metrics["reference_bands"] == inside.sum()


def test_a_campaign_without_experts_has_an_empty_reference(field: Field, tmp_path: Path) -> None:
    run(field.write(masks=None, ranges_nm=None, null_ranges_nm=None).campaign, tmp_path)
    reference = open_store(tmp_path / "reference.zarr", REFERENCE)
    assert "mask" not in reference
    assert not reference["has_reference"].any()


def scan(field: Field, values: np.ndarray, **fields: Any) -> Field:
    """The field as one calibrated file."""
    write_envi(field.folder / "scan.raw", values, **({"map_info": map_info()} | fields))
    return field.write(cubes=[{"image": "scan.raw"}])


def test_bad_bands_are_found_and_said(field: Field, tmp_path: Path) -> None:
    values = make_reflectance().astype(np.float32)
    values[3] = np.nan
    values[10] = 0.3 * np.random.default_rng(0).standard_normal((ROWS, COLS))
    values[5, 2, 3] = 40.0
    bbl = "{" + ", ".join(str(int(band != 7)) for band in range(24)) + "}"
    scan(field, values, bbl=bbl).write(bad_ranges_nm=[[2370, 2390]])
    metrics = run(field.campaign, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    assert np.flatnonzero(~cube["good_band"].to_numpy()).tolist() == [3, 7, 10, 23]
    reasons = {item["band"]: item["reason"].split(" ")[0] for item in cube.attrs["bad_bands"]}
    assert reasons == {3: "no", 7: "bad-band", 10: "noise:", 23: "declared"}
    assert (metrics["bad_bands.declared"], metrics["bad_bands.missing"], metrics["bad_bands.noise"]) == (2, 1, 1)
    assert np.argwhere(~cube["valid"].to_numpy()).tolist() == [[2, 3]]
    assert metrics["invalid_pixels"] == 1
    assert np.isnan(cube["reflectance"][5, 2, 3])


def test_radiance_gets_a_step_that_fits(field: Field, tmp_path: Path) -> None:
    values = (make_reflectance() * 25_000).astype(np.int16)
    scan(field, values).write(quantity="radiance", cubes=[{"image": "scan.raw", "scale": 0.01}])
    metrics = run(field.campaign, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    assert metrics["quantum"] == cube["reflectance"].encoding["scale_factor"] == 0.01
    np.testing.assert_allclose(cube["reflectance"], values * 0.01, atol=0.005)
    assert cube.attrs["quantity"] == "radiance"


def test_unsorted_bands_are_sorted(field: Field, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(24)
    listed = "{" + ", ".join(str(WAVELENGTH[band] / 1000) for band in order) + "}"
    values = make_reflectance().astype(np.float32)
    scan(field, values[order], wavelength=listed, wavelength_units="Micrometers")
    run(field.campaign, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    np.testing.assert_allclose(cube["wavelength"], WAVELENGTH)
    np.testing.assert_allclose(cube["reflectance"], values, atol=0.6e-4)
    assert cube.attrs["sources"][0]["bands_sorted"] is True
    assert "declared as Micrometers" in cube.attrs["sources"][0]["wavelengths"]


@pytest.mark.parametrize(
    ("factor", "entry", "header", "found"),
    [
        (1.0, {"scale": 1e-4}, {}, r"the brightest \d\.\d+e-05, which is no reflectance .*scaled twice"),
        (1.0, {}, {"reflectance_scale_factor": "10000"}, r"the brightest \d\.\d+e-05"),  # as SPy keeps the key
        (100.0, {}, {}, r"a band has 1\.\d+ in the median, and the brightest 1\.\d+, .*percent"),
        (1.0, {}, {}, None),
    ],
)
def test_percent_and_what_is_scaled_twice_is_no_reflectance(
    field: Field, tmp_path: Path, factor: float, entry: dict[str, Any], header: dict[str, str], found: str | None
) -> None:
    values = (field.reflectance * factor).astype(np.float32)
    if factor > 1.0:
        values[:8] *= 0.05  # as vegetation's in the visible, they stay below the largest possible
    write_envi(field.folder / "flight.raw", values, map_info=map_info(), **header)
    field.write(cubes=[{"image": "flight.raw"} | entry])
    if found is None:
        assert run(field.campaign, tmp_path)["good_bands"] == len(WAVELENGTH)
        return
    refused(field, tmp_path, CampaignError, rf"campaign\.yaml:\d+: cubes: after calibration .*{found}")


def test_a_missing_cube(field: Field, tmp_path: Path) -> None:
    (field.folder / "strip-2.raw").unlink()
    refused(field, tmp_path, MissingInputError, r"campaign\.yaml:\d+: cubes\.1\.image: no file .*strip-2\.raw")


def test_a_header_that_contradicts_the_size(field: Field, tmp_path: Path) -> None:
    path = field.folder / "strip-2.raw"
    path.write_bytes(path.read_bytes()[:-100])
    refused(
        field, tmp_path, CubeError, r"strip-2\.raw: \d+ bytes, but strip-2\.hdr describes \d+: 48 lines × 32 samples"
    )


def test_references_of_another_width(field: Field, tmp_path: Path) -> None:
    write_envi(field.folder / "strip-2-white.raw", np.full((24, 4, 28), 9000, np.uint16))
    refused(field, tmp_path, CubeError, r"the white reference has 24 bands × 28 columns .* has 24 × 32")


def test_wavelengths_missing(field: Field, tmp_path: Path) -> None:
    scan(field, make_reflectance().astype(np.float32), wavelength="{}")
    refused(field, tmp_path, CubeError, "names no wavelengths; give 'wavelengths' of its 24 bands in nm")


def test_wavelengths_in_the_wrong_unit(field: Field, tmp_path: Path) -> None:
    """Refused, not decided by magnitude: numbers or unit are wrong, and a guess could misread a cube."""
    scan(field, make_reflectance().astype(np.float32), wavelength_units="Micrometers")
    refused(field, tmp_path, CubeError, "420 to 2380 declared as Micrometers lie outside 200 to 20000 nm; correct")


def test_cubes_with_other_bands(field: Field, tmp_path: Path) -> None:
    write_envi(field.folder / "other.raw", np.full((9, 4, 4), 0.2, np.float32), map_info=map_info(0, 48))
    field.write(cubes=[field.content["cubes"][0], {"image": "other.raw"}])
    refused(field, tmp_path, CubeError, "9 bands of 420 to 2380 nm, but strip-1.hdr has 24")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": "EPSG:32632"}, r"crs: is EPSG:32632, but strip-1.hdr lies in EPSG:32633"),
        ({"crs": None}, r"crs: is null, but strip-1.hdr is georeferenced in EPSG:32633; name the CRS"),
        ({"crs": "EPSG:nonsense"}, r"crs: 'EPSG:nonsense' is no CRS"),
    ],
)
def test_a_crs_that_contradicts_the_files(field: Field, tmp_path: Path, changes: Any, message: str) -> None:
    refused(field.write(**changes), tmp_path, CampaignError, rf"campaign\.yaml:\d+: {message}")


def test_a_grid_for_files_that_have_none(field: Field, tmp_path: Path) -> None:
    values = make_reflectance().astype(np.float32)
    write_envi(field.folder / "scan.raw", values)
    field.write(cubes=[{"image": "scan.raw"}])
    refused(field, tmp_path, CampaignError, r"cubes\.0\.image: scan\.hdr has no georeference; add 'grid'")
    grid = {"x": TRANSFORM.c, "y": TRANSFORM.f, "pixel": 0.5}
    run(field.write(cubes=[{"image": "scan.raw", "grid": grid}]).campaign, tmp_path / "a")
    cube = xr.open_zarr(tmp_path / "a" / "cube.zarr", consolidated=False)
    assert float(cube["x"][0]) == TRANSFORM.c + 0.25
    scan(field, values).write(cubes=[{"image": "scan.raw", "grid": grid | {"x": 7.0}}])
    refused(field, tmp_path, CampaignError, r"cubes\.0\.grid: contradicts scan\.hdr, which is georeferenced")


def test_masks_on_another_grid(field: Field, tmp_path: Path) -> None:
    write_mask(field.folder / "drought.tif", np.ones((ROWS, COLS - 1), bool))
    refused(field, tmp_path, CampaignError, r"masks\.drought: 'drought\.tif' has 48 rows × 59 columns .* draw masks on")
    write_mask(field.folder / "drought.tif", np.ones((ROWS, COLS), bool), TRANSFORM @ TRANSFORM.translation(5, 5))
    refused(field, tmp_path, CampaignError, r"masks\.drought: .* draw masks on the cube's grid")
    write_mask(field.folder / "drought.tif", np.ones((ROWS, COLS), bool), crs=32632)
    refused(field, tmp_path, CampaignError, r"masks\.drought: .* in EPSG:32632, the cube has .* in EPSG:32633; draw")


def test_a_target_that_cannot_be_written(field: Field, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(TargetError, match="cannot be written"):
        run(field.campaign, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"
    both = str(tmp_path / "both.zarr")
    with pytest.raises(TargetError, match=r"both\.zarr' cannot hold both the cube and the reference; give each"):
        ingest(str(field.campaign), both, f"file://{both}", settings=IngestSettings())
    assert not Path(both).exists()


@pytest.mark.parametrize("text", ["../outside.raw", "/etc/passwd", "link.raw", "sub/../../outside.raw"])
def test_paths_out_of_the_folder(field: Field, tmp_path: Path, text: str) -> None:
    write_envi(tmp_path / "outside.raw", np.ones((3, 4, 4), np.float32))
    (field.folder / "link.raw").symlink_to(tmp_path / "outside.raw")
    field.content["cubes"][1]["image"] = text
    refused(field.write(), tmp_path, CampaignError, r"cubes\.1\.image: '.*' leads outside .*keep the data below it")


def test_real_salinas(real_data: Path, tmp_path: Path) -> None:
    metrics = run(CAMPAIGNS / "salinas_a.yaml", tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    raw = scipy.io.loadmat(real_data / "salinasA" / "SalinasA.mat")["salinasA"].transpose(2, 0, 1)
    np.testing.assert_allclose(cube["reflectance"], raw * 0.001, atol=0.51 * metrics["quantum"])
    # Bands 108-112, 154-167 and 224 are the ones that the corrected scene leaves out (counted from 1).
    bad = set((np.flatnonzero(~cube["good_band"].to_numpy()) + 1).tolist())
    assert set(range(108, 112)) | set(range(155, 166)) | {224} == bad
    assert bad <= {*range(108, 113), *range(154, 168), 224}
    # All but the last lie where the air's water vapour absorbs; the last is at the detector's edge.
    assert (metrics["bad_bands.water_vapour"], metrics["bad_bands.noise"]) == (len(bad) - 1, 1)
    reasons = {entry["band"] + 1: entry["reason"] for entry in cube.attrs["bad_bands"]}
    assert reasons[108].startswith("noise in the water-vapour window 1340-1445 nm: signal-to-noise")
    assert reasons[160].startswith("noise in the water-vapour window 1790-1955 nm: signal-to-noise")
    assert cube["x"].attrs["units"] == "1"


def test_real_maize(real_data: Path, tmp_path: Path) -> None:
    metrics = run(CAMPAIGNS / "maize.yaml", tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    assert cube["wavelength"].to_numpy()[[0, -1]].tolist() == [366.551, 1048.421]
    # The lamp gives no light at the blue end, and the detector little at the other.
    good = cube["wavelength"].to_numpy()[cube["good_band"].to_numpy()]
    assert good.min() > 420
    assert good.max() > 1040
    assert metrics["valid_share"] == 1.0
    assert "'byte order' is not in the header; read as little endian" in cube.attrs["sources"][0]["notes"]


def test_real_enmap(real_data: Path, tmp_path: Path) -> None:
    metrics = run(CAMPAIGNS / "enmap.yaml", tmp_path, chunk_px=64)
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)
    assert cube.rio.crs.to_epsg() == 32633
    assert (np.diff(cube["wavelength"]) > 0).all()
    assert metrics["bad_bands.declared"] == 6
    assert (metrics["rows"], metrics["cols"]) == (192, 96)
    assert metrics["valid_share"] == pytest.approx(12 * 32 * 32 / (192 * 96))
    for path in sorted((real_data / "enmap_potsdam_tiles" / "images").glob("*.tif"))[::4]:
        with rasterio.open(path) as file:
            stored = file.read().astype(np.float64)
            order = np.argsort([float(file.tags(band)["wavelength"]) for band in file.indexes])
            fwhm = np.array([float(file.tags(band)["fwhm"]) for band in file.indexes])[order]
            nodata, left, top = file.nodata, file.transform.c, file.transform.f
        expected = np.where(stored == nodata, np.nan, stored * 1e-4)[order]
        part = cube["reflectance"].sel(x=slice(left, left + 960), y=slice(top, top - 960))
        np.testing.assert_allclose(part, expected, atol=0.51e-4)
        np.testing.assert_allclose(cube["fwhm"], fwhm)
