"""Cameras of one object joined on one grid, and bands resampled, before anything is written."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from focus_core.cubes.axes import PIXELS, PixelGrid, Shape2d
from focus_core.cubes.flight import Flight, open_flight
from focus_core.cubes.strip import Strip, sample_lines
from focus_core.errors import CampaignError, CubeError
from tests.focus_core.cubes.small_campaign import COLS, ROWS, WAVELENGTH, Field, make_reflectance, map_info, write_envi

VNIR = np.linspace(400.0, 1000.0, 13)
SWIR = np.linspace(900.0, 2500.0, 17) + 5.0
LEAF = (20, 24)
"""Rows and columns of the VNIR image of the leaf."""


def spectrum(nm: np.ndarray) -> np.ndarray:
    return 0.3 + 0.2 * np.sin(nm / 300.0)


def write_camera(folder: Path, name: str, nm: np.ndarray, leaf: np.ndarray) -> dict[str, Any]:
    """A leaf of brightness ``(y, x)``, a cloth of 40 % and the dark, laid out as Tomato BLS: ``.hdr`` and ``.bil``."""
    cube = spectrum(nm)[:, None, None] * leaf
    listed = "{" + ", ".join(f"{centre:.3f}" for centre in nm) + "}"
    cloth = np.full((len(nm), 4, leaf.shape[1]), 0.4)
    for role, values in (("", cube), ("_cloth", cloth), ("_dark", 0 * cloth)):
        counts = (500 + 40_000 * values).round().astype(np.uint16)
        write_envi(folder / f"0dai_2hr_{name}{role}.bil", counts, wavelength=listed)
    stem = f"0dai_2hr_{name}"
    return {
        "image": f"{stem}.bil",
        "white": f"{stem}_cloth.bil",
        "dark": f"{stem}_dark.bil",
        "panel_reflectance": 0.4,
    }


def two_cameras(field: Field, swir: np.ndarray, **changes: Any) -> Flight:
    vnir = np.linspace(0.5, 1.5, LEAF[0] * LEAF[1]).reshape(LEAF)
    entry = write_camera(field.folder, "VISNIR", VNIR, vnir)
    entry["other_cameras"] = [write_camera(field.folder, "SWIR", SWIR, swir) | changes]
    return open_flight(field.write(cubes=[entry], crs=None, masks=None).file(), chunk_px=16)


def test_a_second_camera_joins_the_first_one_s_grid(field: Field) -> None:
    """SWIR pixels are twice as large, and its image begins two columns and four rows inside the first."""
    swir = np.linspace(0.4, 1.2, 7 * 10).reshape(7, 10)
    flight = two_cameras(field, swir, grid={"x": 2, "y": 4, "pixel": 2})
    np.testing.assert_allclose(flight.nm, np.sort(np.concatenate([VNIR, SWIR])), atol=1e-3)
    found = flight.data.compute()
    assert found.shape == (30, *LEAF)
    leaf = np.linspace(0.5, 1.5, LEAF[0] * LEAF[1]).reshape(LEAF)
    seen = np.full(LEAF, np.nan)
    seen[4:18, 2:22] = np.kron(swir, np.ones((2, 2)))
    expected = np.where(np.isin(flight.nm.round(3), VNIR.round(3))[:, None, None], leaf, seen)
    np.testing.assert_allclose(found, spectrum(flight.nm)[:, None, None] * expected, atol=3e-5)
    assert [source.describe()["file"] for source in flight.sources] == ["0dai_2hr_VISNIR.hdr", "0dai_2hr_SWIR.hdr"]
    assert len(flight.files) == 12


def test_a_second_camera_of_the_same_shape_needs_no_grid(field: Field) -> None:
    flight = two_cameras(field, np.ones(LEAF))
    assert np.isfinite(flight.data.compute()).all()


def test_cameras_that_do_not_fit_are_refused(field: Field) -> None:
    with pytest.raises(CampaignError, match=r"cubes\.0\.other_cameras\.0\.image: 0dai_2hr_SWIR\.hdr has 7 rows .* add"):
        two_cameras(field, np.ones((7, 10)))
    with pytest.raises(CubeError, match=r"0dai_2hr_SWIR\.hdr: lies beside 0dai_2hr_VISNIR\.hdr; correct its 'grid'"):
        two_cameras(field, np.ones((7, 10)), grid={"x": 90, "y": 4, "pixel": 2})
    entry = write_camera(field.folder, "VISNIR", VNIR, np.ones(LEAF))
    with pytest.raises(CubeError, match=r"several cameras have bands at \[400\.0, 450\.0"):
        open_flight(field.write(cubes=[entry | {"other_cameras": [entry]}], crs=None).file(), chunk_px=16)


def test_georeferenced_cameras_are_placed_by_the_map(field: Field) -> None:
    reflectance = make_reflectance().astype(np.float32)
    write_envi(field.folder / "a.raw", reflectance[:12], wavelength=listed(WAVELENGTH[:12]), map_info=map_info())
    write_envi(
        field.folder / "b.raw",
        reflectance[12:, 10:, 20:],
        wavelength=listed(WAVELENGTH[12:]),
        map_info=map_info(20, 10),
    )
    field.write(cubes=[{"image": "a.raw", "other_cameras": [{"image": "b.raw"}]}])
    found = open_flight(field.file(), chunk_px=16).data.compute()
    np.testing.assert_allclose(found[:, 10:, 20:], reflectance[:, 10:, 20:], rtol=1e-6)
    assert np.isnan(found[12:, :10]).all()
    assert np.isfinite(found[:12]).all()


def listed(nm: np.ndarray) -> str:
    return "{" + ", ".join(f"{centre}" for centre in nm) + "}"


def resampled(field: Field, target: Any, fwhm: Any = 40.0, **fields: str) -> Flight:
    nm = np.linspace(420.0, 2380.0, 99)
    cube = (0.2 + nm / 10_000)[:, None, None] * np.random.default_rng(0).uniform(0.5, 1.5, (ROWS, COLS))
    write_envi(
        field.folder / "scan.raw",
        cube.astype(np.float32),
        wavelength=listed(nm),
        fwhm=listed(np.full(99, 20.0)),
        map_info=map_info(),
        **fields,
    )
    field.write(
        cubes=[{"image": "scan.raw"}], resample_to={"wavelengths": target, "fwhm_nm": fwhm}, groups="uniform:200"
    )
    return open_flight(field.file(), chunk_px=16)


def test_a_flight_on_the_bands_of_a_model(field: Field) -> None:
    target = [500.0, 595.0, 610.0, 1000.0, 2100.0]
    flight = resampled(field, target)
    brightness = np.random.default_rng(0).uniform(0.5, 1.5, (ROWS, COLS))
    expected = (0.2 + np.array(target) / 10_000)[:, None, None] * brightness
    np.testing.assert_allclose(flight.data.compute(), expected, rtol=1e-5)
    assert flight.nm.tolist() == target
    np.testing.assert_allclose(flight.fwhm_nm, 40.0, rtol=0.1)
    assert flight.leaked is not None
    assert flight.leaked[[0, 4]].tolist() == [0.0, 0.0]
    assert flight.leaked[1] > 0.5  # the nearest band, at 600 nm, is the next group's
    assert (flight.leaked[2:4] > 0.05).all()
    assert flight.quality.good.all()


def test_bands_that_only_bad_bands_measure_are_bad(field: Field) -> None:
    bad = [int(not 60 <= band <= 66) for band in range(99)]
    flight = resampled(field, {"first_nm": 1500, "last_nm": 1900, "step_nm": 50}, bbl=listed(np.array(bad)))
    assert flight.nm[~flight.quality.good].tolist() == [1650, 1700]
    assert np.isnan(flight.data[~flight.quality.good].compute()).all()
    assert set(flight.quality.reason) == {"", "no pixel measured"}


def test_bands_beyond_the_sensor_are_refused(field: Field) -> None:
    with pytest.raises(CubeError, match=r"scan\.hdr: measures 410 to 2390 nm, .* asks for bands at \[2500"):
        resampled(field, [500.0, 2500.0])


@pytest.mark.parametrize(
    ("target", "fwhm", "message"),
    [
        ([500.0, 400.0], 10.0, "two bands or more in increasing order"),
        ([500.0, 600.0], [10.0], "'fwhm_nm' holds 1 numbers for 2 bands"),
        ([500.0, 600.0], -1.0, "'fwhm_nm' must be positive"),
        ({"first_nm": 500, "last_nm": 400, "step_nm": 5}, 10.0, "two bands or more"),
    ],
)
def test_targets_must_make_sense(field: Field, target: Any, fwhm: Any, message: str) -> None:
    with pytest.raises(CampaignError, match=rf"campaign\.yaml:\d+: resample_to: .*{message}"):
        resampled(field, target, fwhm)


class Counted:
    """An array-like file of 4 bands, 2000 rows and 1000 columns that holds each row's number, and counts rows read."""

    ndim, dtype, shape = 3, np.dtype(np.float32), (4, 2000, 1000)

    def __init__(self) -> None:
        self.read = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.arange(self.shape[1], dtype=np.float32)[key[1]]
        self.read += len(rows)
        return np.broadcast_to(rows[None, :, None], (4, len(rows), 1000))[:, :, key[2]]


def test_bands_are_judged_on_lines_all_over_a_strip_and_no_other_line_is_read() -> None:
    counted = Counted()
    lazy = da.from_array(counted, chunks=(4, 256, 1000), meta=np.empty((0, 0, 0), np.float32))
    nm = np.arange(4.0)
    grid = PixelGrid(Shape2d(2000, 1000), PIXELS)
    strip = Strip((), grid, lambda rows: lazy[:, rows, :], nm, nm, np.ones(4, dtype=np.bool_))
    found = sample_lines([strip])
    lines = found[:, 0, 0]
    assert found.shape == (64, 4, 1000)
    assert len(np.unique(lines)) == len(lines)
    assert lines[0] == 0
    assert lines[-1] == 1999
    assert np.diff(lines).max() < 2000 / 64 * 5
    assert counted.read == len(lines)
