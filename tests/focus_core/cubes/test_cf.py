"""NetCDF files and Zarr stores, as CF writers, EMIT and this project write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers `.rio`
import xarray as xr
import zarr

from focus_core.config import RawCube
from focus_core.cubes.calibrate import without_references
from focus_core.cubes.readers import open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError
from tests.focus_core.cubes.small_campaign import TRANSFORM, Field

BANDS, ROWS, COLS = 4, 6, 5
CUBE = np.random.default_rng(0).integers(0, 9000, (BANDS, ROWS, COLS)).astype(np.int16)
NM = np.array([450.0, 550.0, 650.0, 850.0])
ENCODING = {"scale_factor": 1e-4, "_FillValue": -9999}
Write = Callable[[xr.Dataset, Path], Path]


def dataset(*, dims: str = "byx", unit: str = "nm", per_nm: float = 1.0, south_up: bool = False) -> xr.Dataset:
    """The cube as a CF dataset; the numbers are stored ones, with scale and fill as attributes."""
    y = TRANSFORM.f + (np.arange(ROWS) + 0.5) * TRANSFORM.e
    cube = CUBE[:, ::-1] if south_up else CUBE
    names = {"b": "wavelength", "y": "y", "x": "x"}
    order = tuple("byx".index(letter) for letter in dims)
    data = xr.Dataset(
        {"reflectance": ([names[letter] for letter in dims], cube.transpose(order), ENCODING)},
        coords={
            "wavelength": ("wavelength", NM * per_nm, {"units": unit, "standard_name": "radiation_wavelength"}),
            "y": ("y", y[::-1] if south_up else y),
            "x": ("x", TRANSFORM.c + (np.arange(COLS) + 0.5) * TRANSFORM.a),
            "fwhm": ("wavelength", np.full(BANDS, 10.0) * per_nm, {"units": unit}),
        },
    )
    return data.rio.write_crs(32633).rio.write_coordinate_system()


def to_netcdf(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path, engine="h5netcdf")
    return path


def to_zarr(data: xr.Dataset, path: Path) -> Path:
    data.to_zarr(path, zarr_format=3, consolidated=False)
    return path


def to_zarr2(data: xr.Dataset, path: Path) -> Path:
    data.to_zarr(path, zarr_format=2, consolidated=True)
    return path


@pytest.fixture(params=[to_netcdf, to_zarr, to_zarr2])
def write(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("dims", "unit", "per_nm", "south_up"),
    [("byx", "nm", 1.0, False), ("yxb", "um", 1e-3, True), ("xyb", "m", 1e-9, False), ("byx", "m", 1e-9, True)],
)
def test_values_wavelengths_and_place(
    tmp_path: Path, write: Write, dims: str, unit: str, per_nm: float, south_up: bool
) -> None:
    path = write(dataset(dims=dims, unit=unit, per_nm=per_nm, south_up=south_up), tmp_path / "c")
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), CUBE)
    np.testing.assert_array_equal(found.data[:, [3, 1], 2:].compute(), CUBE[:, [3, 1], 2:])
    wavelengths = decide_wavelengths(found, None)
    np.testing.assert_allclose(wavelengths.nm, NM)
    np.testing.assert_allclose(wavelengths.fwhm_nm, 10.0)
    assert wavelengths.decision == f"variable 'wavelength', declared as {unit}"
    assert found.fill == -9999
    assert found.gain is not None
    np.testing.assert_allclose(found.gain, 1e-4)
    assert found.transform.almost_equals(TRANSFORM)
    assert found.crs.to_epsg() == 32633
    options: Any = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    by_xarray = xr.open_dataset(path, **options)
    seen = by_xarray["reflectance"].transpose("wavelength", "y", "x").sortby("y", ascending=False)
    np.testing.assert_allclose(found.data.compute() * 1e-4, seen, rtol=1e-6)


def test_emit_describes_its_bands_in_a_group(tmp_path: Path) -> None:
    """The objects of EMIT L2A: no grid of the map, bands that its own list calls bad."""
    path = tmp_path / "EMIT_L2A.nc"
    cube = CUBE.transpose(1, 2, 0).astype(np.float32) / 1e4
    xr.Dataset(
        {"reflectance": (("downtrack", "crosstrack", "bands"), cube, {"_FillValue": np.float32(-9999)})}
    ).to_netcdf(path, engine="h5netcdf")
    bands = {
        "wavelengths": ("bands", NM, {"units": "nm"}),
        "fwhm": ("bands", np.full(BANDS, 8.5), {"units": "nm"}),
        "good_wavelengths": ("bands", np.array([1.0, 1.0, 0.0, 1.0])),
    }
    xr.Dataset(bands).to_netcdf(path, mode="a", group="sensor_band_parameters", engine="h5netcdf")
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), cube.transpose(2, 0, 1))
    assert decide_wavelengths(found, None).nm.tolist() == NM.tolist()
    assert found.good_band is not None
    assert found.good_band.tolist() == [True, True, False, True]
    assert (found.fill, found.transform) == (-9999, None)


@pytest.mark.parametrize(
    ("attrs", "limits"),
    [
        ({"valid_range": np.array([0, 8000], np.int16)}, (0, 8000)),
        ({"valid_range": [0.0, 0.8]}, (0, 8000)),  # of floats: of what the stored numbers mean
        ({"valid_min": np.int16(0)}, (0, np.inf)),
        ({"valid_max": 0.8}, (-np.inf, 8000)),
    ],
)
def test_what_lies_beyond_its_valid_range_is_missing(
    tmp_path: Path, write: Write, field: Field, attrs: Any, limits: Any
) -> None:
    data = change(dataset(), "reflectance", **attrs)
    data["reflectance"][0, 0, :3] = [-1, 8001, 8000]
    found = open_raw(write(data, tmp_path / "c"))
    np.testing.assert_allclose(found.limits, limits)
    calibration = without_references(found, RawCube(image="c"), np.arange(BANDS), field.file().campaign)
    seen = data["reflectance"].to_numpy()
    np.testing.assert_array_equal(
        np.isnan(calibration.apply(found.data).compute()), (seen < limits[0]) | (seen > limits[1])
    )


def test_pixels_that_a_netcdf_program_never_wrote_are_missing(tmp_path: Path) -> None:
    data = dataset()
    data["reflectance"].attrs = {}
    assert open_raw(to_netcdf(data, tmp_path / "short.nc")).fill == -32767
    assert open_raw(to_zarr(data, tmp_path / "c.zarr")).fill is None
    data["reflectance"] = data["reflectance"].astype(np.float32)
    data["reflectance"].encoding["_FillValue"] = None
    found = open_raw(to_netcdf(data, tmp_path / "float.nc")).fill
    assert found is not None
    assert np.float32(found) == np.float32(9.96921e36)


@pytest.mark.parametrize(
    ("name", "attrs", "quantity"),
    [
        ("radiance", {}, "radiance"),
        ("rfl", {"standard_name": "surface_bidirectional_reflectance"}, "reflectance"),
        ("raw", {"standard_name": "toa_outgoing_radiance_per_unit_wavelength"}, "radiance"),
        ("irradiance", {}, None),
        ("counts", {}, None),
    ],
)
def test_names_say_which_quantity_it_is(
    tmp_path: Path, write: Write, name: str, attrs: dict[str, str], quantity: str | None
) -> None:
    data = change(dataset().rename(reflectance=name), name, **attrs)
    assert open_raw(write(data, tmp_path / "c")).quantity == quantity
    data.attrs["quantity"] = "reflectance"
    assert open_raw(write(data, tmp_path / "d")).quantity == "reflectance"


def test_which_array_must_be_clear(tmp_path: Path, write: Write) -> None:
    data = dataset()
    data["uncertainty"] = data["reflectance"] // 10
    path = write(data, tmp_path / "c")
    with pytest.raises(CubeError, match=r"found: \{'reflectance': .*'uncertainty': .*name the 'variable'"):
        open_raw(path)
    np.testing.assert_array_equal(open_raw(path, variable="reflectance").data.compute(), CUBE)
    with pytest.raises(CubeError, match="no array 'radiance' of 3 dimensions"):
        open_raw(path, variable="radiance")


def change(data: xr.Dataset, name: str, **attrs: Any) -> xr.Dataset:
    data[name].attrs.update(attrs)
    return data


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: dataset().drop_vars("wavelength").rename(wavelength="z"), "which dimension of 'reflectance'"),
        (lambda: change(dataset(), "fwhm", units="um"), "'fwhm' is in um, 'wavelength' in nm; write both in one unit"),
        (lambda: change(dataset(), "reflectance", scale_factor="x"), "'scale_factor' must be a number"),
        (lambda: change(dataset(), "reflectance", missing_value=-1), "contradict each other; keep one"),
        (lambda: change(dataset(), "reflectance", _Unsigned="true"), "'_Unsigned' is not supported"),
        (
            lambda: change(dataset(), "reflectance", valid_range=[1, 2], valid_min=0),
            "are no limits of valid numbers; correct them",
        ),
        (lambda: change(dataset(), "reflectance", valid_range=[1, 2, 3]), "are no limits of valid numbers"),
        (lambda: dataset().assign_coords(x=[0.0, 1.0, 2.0, 3.0, 5.0]), "'x' is not evenly spaced; resample"),
        (lambda: dataset().isel(x=slice(None, None, -1)), "'x' decreases; mirrored images"),
        (
            lambda: change(dataset(), "spatial_ref", GeoTransform="7 1 0 9 0 -1"),
            "'GeoTransform' .* contradicts the coord",
        ),
        (lambda: dataset().rename(x="lat"), "both y and lat are y axes; rename one"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, write: Write, broken: Any, message: str) -> None:
    data = broken()
    with pytest.raises(CubeError, match=message):
        open_raw(write(data, tmp_path / "c"))


def test_without_a_place_rows_stay_in_the_file_s_order(tmp_path: Path, write: Write) -> None:
    data = xr.Dataset({"reflectance": (("wavelength", "b", "a"), CUBE[:, ::-1])}, coords={"wavelength": NM})
    found = open_raw(write(data, tmp_path / "c"))
    np.testing.assert_array_equal(found.data.compute(), CUBE[:, ::-1])
    assert (found.transform, found.notes) == (None, ("axes b and a read as rows and columns",))


def test_a_store_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "bomb.zarr", mode="w")
    group.create_array(
        "cube", shape=(400, 10**6, 10**6), chunks=(400, 64, 64), dtype="f4", dimension_names=("band", "y", "x")
    )
    with pytest.raises(CubeError, match=r"'cube' declares 1600000000000000 bytes and cannot fit"):
        open_raw(tmp_path / "bomb.zarr")
    with h5py.File(to_netcdf(dataset(), tmp_path / "bomb.nc"), "r+") as file:
        file.create_dataset("more", (10**6, 10**6, 99), "f4", chunks=(64, 64, 99))
    with pytest.raises(CubeError, match=r"'more' declares .* and cannot fit"):
        open_raw(tmp_path / "bomb.nc")


def test_long_lists_and_large_chunks_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with h5py.File(to_netcdf(dataset(), tmp_path / "list.nc"), "r+") as file:
        file.create_dataset("x_of_all", (2**40,), "f8", chunks=(64,)).make_scale("x_of_all")
    with pytest.raises(CubeError, match="'x_of_all' is a list of 8796093022208 bytes"):
        open_raw(tmp_path / "list.nc")
    for name, options in (("list", {"shape": (2**40,), "chunks": (64,)}), ("chunk", {"shape": (2**11,) * 3})):
        path = to_zarr(dataset(), tmp_path / f"{name}.zarr")
        zarr.open_group(path).create_array("more", dtype="f8", **{"chunks": (2**11,) * 3, **options})
        with pytest.raises(CubeError, match=r"'more' (is a list of|has chunks of \(2048, 2048, 2048\), too large)"):
            open_raw(path)


def test_a_store_with_links_is_refused(tmp_path: Path) -> None:
    path = to_zarr(dataset(), tmp_path / "c.zarr")
    chunk = path / "reflectance" / "c" / "0" / "0" / "0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CubeError, match="'reflectance/c/0/0/0' is a link; copy the store with its files"):
        open_raw(path)


def test_a_broken_store_is_refused(tmp_path: Path) -> None:
    path = to_zarr(dataset(), tmp_path / "c.zarr")
    (path / "reflectance" / "c" / "0" / "0" / "0").write_bytes(b"no zstd")
    found = open_raw(path)
    with pytest.raises(CubeError, match="cannot be read as an array: 'reflectance'"):
        found.data.compute()
    (path / "zarr.json").write_text("{")
    with pytest.raises(CubeError, match="cannot be read as Zarr"):
        open_raw(path)
    (path / "zarr.json").unlink()
    with pytest.raises(CubeError, match=r"a folder, but no Zarr store \(zarr.json or .zgroup is missing\)"):
        open_raw(path)


def test_a_lost_chunk_does_not_become_data(tmp_path: Path) -> None:
    path = to_zarr(dataset(), tmp_path / "c.zarr")
    (path / "reflectance" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(CubeError, match=r"1 of 1 chunks are not there and would read as 0, not as missing \(-9999\)"):
        open_raw(path)


def test_classic_netcdf_is_refused_with_the_remedy(tmp_path: Path) -> None:
    dataset().drop_vars("spatial_ref").to_netcdf(tmp_path / "c.nc", engine="scipy")
    with pytest.raises(CubeError, match="classic format is not read; convert it with 'nccopy -k nc4'"):
        open_raw(tmp_path / "c.nc")
