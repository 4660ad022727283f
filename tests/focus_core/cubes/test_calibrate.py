from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_core.config import RawCube
from focus_core.cubes.calibrate import with_references, without_references
from focus_core.cubes.flight import open_flight
from focus_core.cubes.readers import OpenedCube, open_raw
from focus_core.errors import CampaignError, CubeError
from tests.focus_core.cubes.small_campaign import Field, map_info, write_envi

ORDER = np.arange(3)
PLAIN = RawCube(image="x")


def cube(values: np.ndarray, **fields: object) -> OpenedCube:
    data = da.from_array(values, chunks=(-1, 2, 2))
    return OpenedCube(path=Path("scan.raw"), files=(), data=data, **fields)  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(st.integers(300, 60_000), st.integers(0, 299), st.floats(0.1, 1.0))
def test_the_panel_itself_has_its_reflectance(light: int, dark: int, panel: float) -> None:
    shape = (3, 4, 5)
    white, black = (cube(np.full(shape, level, np.uint16)) for level in (light, dark))
    entry = RawCube(image="x", white="w", dark="d", panel_reflectance=panel)
    found = with_references(white, white, black, entry, ORDER).apply(white.data).compute()
    np.testing.assert_allclose(found, panel, rtol=1e-4)
    found = with_references(black, white, black, entry, ORDER).apply(black.data).compute()
    np.testing.assert_allclose(found, 0.0, atol=1e-3)


def test_columns_are_calibrated_apart_and_bands_sorted() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((3, 6, 5))
    dark = rng.integers(100, 200, (3, 1, 5))
    span = rng.integers(20_000, 30_000, (3, 1, 5))
    scan, white, black = (
        cube(np.asarray(values).round().astype(np.uint16))
        for values in (dark + span * truth, np.repeat(dark + span, 3, axis=1), np.repeat(dark, 2, axis=1))
    )
    order = np.array([2, 0, 1])
    found = with_references(scan, white, black, PLAIN, order).apply(scan.data).compute()
    np.testing.assert_allclose(found, truth[order], atol=1e-4)


def test_dead_columns_and_saturated_pixels_are_missing() -> None:
    scan = np.full((3, 4, 5), 1000, np.uint16)
    scan[0, 1, 1] = 65535
    white = np.full((3, 2, 5), 2000, np.uint16)
    white[1, :, 2] = 100
    white[2, 0, 3] = 65535
    dark = np.full((3, 2, 5), 100, np.uint16)
    found = with_references(cube(scan), cube(white), cube(dark), PLAIN, ORDER).apply(da.asarray(scan))
    missing = np.isnan(found.compute())
    expected = np.zeros_like(missing)
    expected[0, 1, 1] = expected[1, :, 2] = expected[2, :, 3] = True
    np.testing.assert_array_equal(missing, expected)


def test_a_camera_of_12_bits_is_full_at_the_number_that_the_campaign_names(field: Field) -> None:
    scan = np.array([[[2000, 4095, 4094]]] * 3, np.uint16)
    white = np.full((3, 2, 3), 4000, np.uint16)
    white[2, 0, 0] = 4095
    full = RawCube(image="x", white="w", dark="d", saturated=4095)
    found = with_references(cube(scan), cube(white), cube(np.zeros_like(white)), full, ORDER).apply(da.asarray(scan))
    np.testing.assert_array_equal(
        np.isnan(found.compute()[:, 0]), [[False, True, False], [False, True, False], [True, True, False]]
    )
    campaign = field.file().campaign
    plain = without_references(cube(scan), RawCube(image="x", saturated=4095, scale=1e-4), ORDER, campaign)
    np.testing.assert_allclose(plain.apply(da.asarray(scan)).compute()[0, 0], [0.2, np.nan, 0.4094], rtol=1e-6)
    with pytest.raises(CubeError, match=r"'saturated: 70000' in the campaign file is more than uint16 holds \(65535\)"):
        without_references(cube(scan), RawCube(image="x", saturated=70_000, scale=1e-4), ORDER, campaign)


@pytest.mark.parametrize("full", [1023, 4095, 16_383])
def test_a_white_reference_that_ends_at_a_full_camera_is_refused(full: int) -> None:
    """Its mean is too low, and reflectance too high, by as much as nobody knows."""
    white = np.full((3, 4, 5), full - 100, np.uint16)
    white[0, :, :3] = full
    scan, dark = (cube(np.full((3, 4, 5), level, np.uint16)) for level in (full // 2, 0))
    with pytest.raises(CubeError, match=rf"never exceeds {full} and reaches it often, .*; write 'saturated: {full}'"):
        with_references(scan, cube(white), dark, PLAIN, ORDER)
    with_references(scan, cube(white), dark, RawCube(image="x", white="w", dark="d", saturated=full), ORDER)
    white[white == full] = full - 1
    with_references(scan, cube(white), dark, PLAIN, ORDER)


def counts(reflectance: np.ndarray, exposure_ms: float) -> np.ndarray:
    """What a camera of 100 counts a ms above a dark of 50 sees."""
    return (50 + 100 * exposure_ms * reflectance).round().astype(np.uint16)


def test_a_white_panel_of_another_exposure_is_brought_to_that_of_the_image() -> None:
    truth = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 5))
    scan, white, dark = (
        cube(counts(values, ms)) for values, ms in ((truth, 40.0), (np.full((3, 2, 5), 0.5), 10.0), (0 * truth, 1.0))
    )
    entry = RawCube(image="x", white="w", dark="d", panel_reflectance=0.5, exposure_ms=40.0, white_exposure_ms=10.0)
    calibration = with_references(scan, white, dark, entry, ORDER)
    np.testing.assert_allclose(calibration.apply(scan.data).compute(), truth, atol=5e-4)
    assert calibration.decision.endswith("which was exposed 0.25 times as long as the image")


@pytest.mark.parametrize(("key", "text"), [("tint", "{} "), ("shutter", "{}"), ("integration time", "{{ {} }}")])
def test_exposures_in_the_headers_count_and_may_not_be_contradicted(field: Field, key: str, text: str) -> None:
    truth = np.random.default_rng(0).uniform(0.1, 0.9, (24, 6, 8))
    for name, values, ms in (("a", truth, 40.0), ("w", np.ones((24, 2, 8)), 10.0), ("d", 0 * truth, 40.0)):
        written = {key.replace(" ", "_"): text.format(ms)}
        write_envi(field.folder / f"{name}.raw", counts(values, ms), map_info=map_info(), **written)
    entry = {"image": "a.raw", "white": "w.raw", "dark": "d.raw"}
    found = open_flight(field.write(cubes=[entry], masks=None).file(), chunk_px=32)
    np.testing.assert_allclose(found.data.compute(), truth, atol=5e-4)
    field.write(cubes=[entry | {"exposure_ms": 40, "white_exposure_ms": 10}])
    open_flight(field.file(), chunk_px=32)
    field.write(cubes=[entry | {"exposure_ms": 40, "white_exposure_ms": 20}])
    with pytest.raises(CubeError, match=r"w\.hdr: was exposed 0\.25 times .* campaign file say 0\.5; leave them out"):
        open_flight(field.file(), chunk_px=32)


@pytest.mark.parametrize(
    ("image", "white"),
    [("5.0e-01", "1.0E+00"), ("1,25", "2,5"), ("500 us", "1 ms"), ("0.5 s", "1 sec"), ("10", "20 ms")],
)
def test_exposures_are_read_as_cameras_write_them(field: Field, image: str, white: str) -> None:
    for name, ms in (("a", image), ("w", white), ("d", "auto")):
        write_envi(
            field.folder / f"{name}.raw", np.full((24, 2, 8), ord(name), np.uint16), map_info=map_info(), tint=ms
        )
    field.write(cubes=[{"image": "a.raw", "white": "w.raw", "dark": "d.raw"}], masks=None)
    (source,) = open_flight(field.file(), chunk_px=32).sources
    assert source.calibration.decision.endswith("which was exposed 2 times as long as the image")
    write_envi(field.folder / "w.raw", np.full((24, 2, 8), 200, np.uint16), tint="{10, 20}")
    with pytest.raises(CubeError, match=r"w\.hdr: 'tint': expected one exposure in ms, found '10, 20'; correct it"):
        open_flight(field.file(), chunk_px=32)


@pytest.mark.parametrize("fill", [-9999.0, 32_767.0, float("nan")])
def test_what_a_reference_calls_missing_is_not_averaged(fill: float) -> None:
    kind = np.float32 if np.isnan(fill) else np.int16
    scan, white, dark = (np.full((3, 4, 5), level, kind) for level in (2_000, 4_000, 0))
    white[0, 1, 2] = white[1, :, 3] = dark[2, 0, 4] = fill
    missing = np.zeros(scan.shape, np.bool_)
    missing[1, :, 3] = True  # no line of the reference has it
    opened = [cube(values, fill=fill) for values in (scan, white, dark)]
    found = with_references(*opened, PLAIN, ORDER).apply(opened[0].data).compute()
    np.testing.assert_array_equal(found, np.where(missing, np.float32(np.nan), np.float32(0.5)))


def test_factors_in_the_files_must_be_one_and_cancel_out(field: Field) -> None:
    scan, white, dark = (np.full((3, 4, 5), level, np.uint16) for level in (2_000, 4_000, 0))
    gain, offset = np.array([1e-9, 2e-9, 3e-9]), np.array([0.0, 1e-9, 0.0])
    opened = [cube(values, gain=gain, offset=offset) for values in (scan, white, dark)]
    np.testing.assert_allclose(with_references(*opened, PLAIN, ORDER).apply(opened[0].data).compute(), 0.5)
    for fields, message in (
        ({"gain": 2 * gain, "offset": offset}, r"the white reference has gain 6e-09 in band 3"),
        ({"gain": gain}, r"the white reference has offset 0 in band 2 .*, scan\.raw 1e-09"),
        ({}, r"has gain 1 in band 1 \(none in the file\)"),
    ):
        with pytest.raises(CubeError, match=message):
            with_references(opened[0], cube(white, **fields), opened[2], PLAIN, ORDER)


def test_what_is_reflectance_already_is_neither_calibrated_nor_called_radiance(field: Field) -> None:
    scan = (field.reflectance * 10_000).round().astype(np.uint16)
    write_envi(field.folder / "a.raw", scan, map_info=map_info(), reflectance_scale_factor="10000")
    first = field.content["cubes"][0]
    field.write(cubes=[first | {"image": "a.raw"}], masks=None)
    with pytest.raises(
        CampaignError,
        match=r"cubes\.0\.white: would calibrate a\.hdr twice, .* reflectance \('reflectance scale factor' 10000",
    ):
        open_flight(field.file(), chunk_px=32)
    field.write(cubes=[{"image": "a.raw"}], quantity="radiance")
    with pytest.raises(CampaignError, match=r"quantity: is radiance, but a\.hdr holds reflectance"):
        open_flight(field.file(), chunk_px=32)


@pytest.mark.parametrize(
    ("white", "message"),
    [
        (
            np.ones((3, 2, 4), np.uint16),
            r"the white reference has 3 bands × 4 columns of uint16, the image scan.raw has 3 × 5",
        ),
        (np.ones((2, 2, 5), np.uint16), r"the white reference has 2 bands"),
        (np.ones((3, 2, 5), np.float32), r"of float32"),
        (np.zeros((3, 2, 5), np.uint16), r"nowhere brighter than scan.raw; are white and dark swapped"),
    ],
)
def test_references_of_another_geometry_are_refused(white: np.ndarray, message: str) -> None:
    scan, dark = cube(np.ones((3, 4, 5), np.uint16)), cube(np.ones((3, 2, 5), np.uint16))
    with pytest.raises(CubeError, match=message):
        with_references(scan, cube(white), dark, PLAIN, ORDER)


def test_references_of_other_wavelengths_are_refused() -> None:
    scan = cube(np.ones((3, 4, 5), np.uint16), wavelength=np.array([400.0, 500.0, 600.0]))
    white = cube(np.full((3, 4, 5), 9, np.uint16), wavelength=np.array([400.0, 500.0, 700.0]))
    with pytest.raises(CubeError, match="the white reference has other wavelengths"):
        with_references(scan, white, scan, PLAIN, ORDER)


def test_scale_of_the_file_fill_and_impossible_reflectance(field: Field) -> None:
    values = np.array([[[5837, -99, 10_000, 32_767]]] * 3, np.int16)
    opened = cube(values, fill=-99.0, gain=np.full(3, 1e-4), gain_source="band scales")
    campaign = field.file().campaign
    found = without_references(opened, RawCube(image="x"), ORDER, campaign)
    np.testing.assert_allclose(found.apply(opened.data).compute()[0, 0], [0.5837, np.nan, 1.0, np.nan], rtol=1e-6)
    assert found.decision == "band scales"
    with pytest.raises(
        CubeError, match=r"band scales is a factor of 0\.0001, but the campaign file says 'scale: 0\.001'"
    ):
        without_references(opened, RawCube(image="x", scale=0.001), ORDER, campaign)


def test_whole_numbers_are_no_reflectance_without_a_scale(field: Field) -> None:
    opened = cube(np.full((3, 1, 2), 5837, np.int16))
    campaign = field.file().campaign
    with pytest.raises(CubeError, match="holds whole numbers without a scale, which are no reflectance; give 'scale'"):
        without_references(opened, RawCube(image="x"), ORDER, campaign)
    found = without_references(opened, RawCube(image="x", scale=1e-4), ORDER, campaign)
    np.testing.assert_allclose(found.apply(opened.data).compute(), 0.5837, rtol=1e-6)
    radiance = without_references(
        opened, RawCube(image="x"), ORDER, campaign.model_copy(update={"quantity": "radiance"})
    )
    np.testing.assert_allclose(radiance.apply(opened.data).compute(), 5837.0)


@pytest.mark.parametrize("fill", [70_000.0, -1.0, 0.5, float("nan")])
def test_a_fill_that_the_type_cannot_hold_changes_nothing(field: Field, fill: float) -> None:
    opened = cube(np.full((3, 1, 2), 7, np.uint16), fill=fill)
    found = without_references(opened, RawCube(image="x", scale=1e-2), ORDER, field.file().campaign)
    np.testing.assert_allclose(found.apply(opened.data).compute(), 0.07, rtol=1e-5)


@pytest.mark.parametrize(("value", "found"), [(-1.0, "-1"), (0.5, r"0\.5"), (float("nan"), "nan")])
def test_a_background_that_never_occurs_is_refused(field: Field, value: float, found: str) -> None:
    opened = cube(np.zeros((3, 1, 2), np.uint16))
    with pytest.raises(CubeError, match=rf"'background: {found}' in the campaign file is no number that uint16 holds"):
        without_references(opened, RawCube(image="x", scale=1e-4, background=value), ORDER, field.file().campaign)


def test_nan_is_a_fill_of_floats(field: Field) -> None:
    opened = cube(np.array([[[0.5, np.nan, np.inf]]] * 3, np.float32), fill=float("nan"))
    found = without_references(opened, RawCube(image="x"), ORDER, field.file().campaign)
    np.testing.assert_array_equal(np.isnan(found.apply(opened.data).compute()[0, 0]), [False, True, True])


def test_references_contradict_radiance_and_scale(field: Field) -> None:
    field.write(quantity="radiance")
    with pytest.raises(CampaignError, match=r"campaign\.yaml:\d+: cubes\.0\.white: .* write 'quantity: reflectance'"):
        open_flight(field.file(), chunk_px=32)
    field.content["cubes"][0]["scale"] = 0.1
    field.write(quantity="reflectance")
    with pytest.raises(CampaignError, match=r"cubes\.0\.scale: cannot stand beside references"):
        open_flight(field.file(), chunk_px=32)


def test_real_maize_against_the_formula(real_data: Path) -> None:
    folder = real_data / "maize_B73_envi_with_refs"
    scan, white, dark = (
        open_raw(folder / name)
        for name in ("4-22-22_right_same_B73_top_00.raw", "white_reference_crop.raw", "dark_reference_crop.raw")
    )
    raw, light, base = (
        np.fromfile(item.files[1], "<u2").reshape(31, 580, 43).transpose(1, 0, 2).astype(np.float64)
        for item in (scan, white, dark)
    )
    base, light = base.mean(axis=1, keepdims=True), light.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (raw - base) / (light - base)
    found = with_references(scan, white, dark, PLAIN, np.arange(580)).apply(scan.data).compute()
    kept = np.isfinite(found)
    assert kept.mean() > 0.99
    np.testing.assert_allclose(found[kept], expected[kept], atol=2e-4)


def test_a_block_can_be_calibrated_without_its_neighbours() -> None:
    rng = np.random.default_rng(4)
    scan = cube(rng.integers(500, 900, (3, 5, 7)).astype(np.uint16))
    white = cube(rng.integers(2000, 3000, (3, 2, 7)).astype(np.uint16))
    dark = cube(rng.integers(0, 100, (3, 2, 7)).astype(np.uint16))
    calibration = with_references(scan, white, dark, PLAIN, ORDER)
    whole = calibration.apply(scan.data.rechunk(-1)).compute()
    np.testing.assert_array_equal(calibration.apply(scan.data).compute(), whole)
    np.testing.assert_array_equal(calibration.apply(scan.data[:, [0, 3], :]).compute(), whole[:, [0, 3]])
    assert replace(calibration, saturated=None).apply(scan.data)[:, 1:2, 3:6].compute().shape == (3, 1, 3)
