from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_core.cubes.schema import CUBE, FILL, SCALE, WAVELENGTH_ATTRS, check
from focus_core.cubes.store import open_store, quantised, write_store
from focus_core.errors import MissingInputError, StoreError


def cube(values: np.ndarray | None = None) -> xr.Dataset:
    values = np.full((3, 2, 4), 0.25, np.float32) if values is None else values
    return xr.Dataset(
        {"reflectance": (("band", "y", "x"), values), "valid": (("y", "x"), np.ones(values.shape[1:], bool))},
        coords={
            "wavelength": ("band", np.array([400.0, 500.0, 600.0]), WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(3, 5.0), {"units": "nm"}),
            "good_band": ("band", np.ones(3, bool)),
            "y": np.arange(values.shape[1], dtype=float),
            "x": np.arange(values.shape[2], dtype=float),
            "spatial_ref": ((), 0),
        },
        attrs={"quantity": "reflectance", "campaign": "c"},
    )


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-5, 1e-2), st.integers(0, 99))
def test_a_round_trip_is_off_by_half_a_step(tmp_path_factory: pytest.TempPathFactory, scale: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-32767, 32767, (3, 2, 4)).astype(np.float32) * np.float32(scale)
    values[0, 0, 0] = np.nan
    folder = tmp_path_factory.mktemp("store")
    write_store(cube(values), folder, CUBE, encoding={"reflectance": quantised(scale)})
    found = open_store(folder, CUBE)["reflectance"].to_numpy()
    assert np.isnan(found[0, 0, 0])
    kept = np.isfinite(values)
    assert np.abs(found[kept].astype(float) - values[kept]).max() <= 0.5 * scale * (1 + 1e-2)


def test_reflectance_is_stored_in_int16_steps(tmp_path: Path) -> None:
    write_store(cube(), tmp_path / "c", CUBE, encoding={"reflectance": quantised()})
    raw = xr.open_zarr(tmp_path / "c", consolidated=False, mask_and_scale=False)["reflectance"]
    assert raw.dtype == np.int16
    assert (raw == 2500).all()
    assert (raw.attrs["scale_factor"], raw.attrs["_FillValue"]) == (SCALE, FILL)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.drop_vars("valid"), r"needs 'valid' \('y', 'x'\); it is missing"),
        (lambda d: d.drop_vars("fwhm"), "needs 'fwhm'"),
        (lambda d: d.transpose("y", "x", "band"), r"'reflectance' must have dims \('band', 'y', 'x'\)"),
        (lambda d: d.assign(valid=d["valid"].astype(int)), "'valid' must be of kind 'b', found dtype int64"),
        (lambda d: d.isel(band=[0, 2, 1]), "'wavelength' must increase strictly"),
        (lambda d: d.drop_attrs(deep=False), "needs the attributes"),
        (
            lambda d: d.assign_coords(wavelength=("band", d["wavelength"].to_numpy(), {"units": "um"})),
            "'wavelength' must be in nm, found units 'um'",
        ),
    ],
)
def test_a_broken_store_is_refused_at_write_and_read(tmp_path: Path, spoil, message: str) -> None:
    broken = spoil(cube())
    with pytest.raises(StoreError, match=message):
        check(broken, CUBE, where="here")
    with pytest.raises(StoreError, match=message):
        write_store(broken, tmp_path / "c", CUBE, encoding={})
    assert not (tmp_path / "c").exists()
    broken.to_zarr(tmp_path / "c", consolidated=False, zarr_format=3)
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / "c", CUBE)


def test_no_store_there(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no cube\.zarr there; run the step that writes it"):
        open_store(tmp_path / "nothing", CUBE)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "zarr.json").write_text("[")
    with pytest.raises(StoreError, match="cannot be opened as Zarr"):
        open_store(tmp_path / "bad", CUBE)


def test_a_layout_can_be_filled_later(tmp_path: Path) -> None:
    lazy = cube()
    lazy["reflectance"] = lazy["reflectance"].chunk({"x": 2})
    write_store(lazy, tmp_path / "c", CUBE, encoding={"reflectance": quantised()}, compute=False)
    assert open_store(tmp_path / "c", CUBE)["wavelength"].to_numpy().tolist() == [400, 500, 600]
    assert not (tmp_path / "c" / "reflectance" / "c").exists()
