"""HDF5 files: MATLAB 7.3 and NEON, and what no HDF5 file may do."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from focus_core.cubes.readers import hdf5, open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError

CUBE = np.random.default_rng(0).integers(-50, 9000, (6, 5, 4)).astype(np.int16)
"""``(row, column, band)``."""


def write_matlab73(path: Path, **arrays: np.ndarray) -> Path:
    """As ``save -v7.3`` does: a userblock that names MATLAB, and every array with its axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            stored = file.create_dataset(name, data=values.T, chunks=True, compression="gzip")
            stored.attrs["MATLAB_class"] = np.bytes_("int16")
        file.create_group("#refs#")["b"] = np.zeros((2, 2, 2))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jun  1 2026 HDF5 schema 1.00 .".ljust(124))
    return path


def write_neon(path: Path, *, site: str = "SJER", without: str = "", **attrs: float) -> Path:
    """The objects of a NEON file, ``(row, column, band)``."""
    with h5py.File(path, "w") as file:
        group = file.create_group(f"{site}/Reflectance")
        data = group.create_dataset("Reflectance_Data", data=CUBE, chunks=(3, 3, 2), compression="gzip")
        data.attrs.update({"Data_Ignore_Value": -9999.0, "Scale_Factor": 10_000.0, **attrs})
        spectral = group.create_group("Metadata/Spectral_Data")
        spectral["Wavelength"] = np.linspace(400.0, 700.0, 4)
        spectral["Wavelength"].attrs["Units"] = "nanometers"
        spectral["FWHM"] = np.full(4, 5.5)
        place = group.create_group("Metadata/Coordinate_System")
        place["Map_Info"] = "UTM,  1.000,  1.000, 257000.00, 4112000.0, 1.0, 1.0, 11,  North,  WGS-84,  units=Meters, 0"
        place["EPSG Code"] = "32611"
        if without:
            del group[without]
    return path


def test_matlab73_array_turns_to_band_y_x(tmp_path: Path) -> None:
    path = write_matlab73(tmp_path / "c.dat", scene=CUBE, plane=CUBE[..., 0])
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), CUBE.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.data[:, 2:5:2, 1:3].compute(), CUBE.transpose(2, 0, 1)[:, 2:5:2, 1:3])
    np.testing.assert_array_equal(found.data[:, [4, 1], :].compute(), CUBE.transpose(2, 0, 1)[:, [4, 1]])
    assert found.wavelength is None


def test_matlab73_variable_must_be_clear(tmp_path: Path) -> None:
    path = write_matlab73(tmp_path / "c.mat", a=CUBE, b=2 * CUBE)
    with pytest.raises(CubeError, match=r"found: a \(6, 5, 4\), b \(6, 5, 4\); name the 'variable'"):
        open_raw(path)
    np.testing.assert_array_equal(open_raw(path, variable="b").data.compute(), 2 * CUBE.transpose(2, 0, 1))


def test_neon_has_wavelengths_scale_fill_and_place(tmp_path: Path) -> None:
    found = open_raw(write_neon(tmp_path / "neon"))
    np.testing.assert_array_equal(found.data.compute(), CUBE.transpose(2, 0, 1))
    wavelengths = decide_wavelengths(found, None)
    assert wavelengths.nm.tolist() == [400, 500, 600, 700]
    assert wavelengths.fwhm_nm.tolist() == [5.5] * 4
    assert wavelengths.decision == "'SJER/Reflectance/Metadata/Spectral_Data/Wavelength', declared as nanometers"
    assert found.gain is not None
    np.testing.assert_allclose(found.gain, 1e-4)
    assert (found.fill, found.gain_source) == (-9999, "attribute 'Scale_Factor' 10000")
    assert found.quantity == "reflectance"
    assert found.crs.to_epsg() == 32611
    assert (found.transform.c, found.transform.f, found.transform.a) == (257_000, 4_112_000, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": "Metadata/Spectral_Data/Wavelength"}, "Spectral_Data/Wavelength' is missing; download"),
        ({"Scale_Factor": 0.0}, "'Scale_Factor' must be positive, found 0"),
        ({"Scale_Factor": "many"}, "'Scale_Factor' must be a number, found many"),
    ],
)
def test_neon_contradictions_are_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(CubeError, match=message):
        open_raw(write_neon(tmp_path / "neon.h5", **changes))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("Spectral_Data/FWHM", np.ones(3), "FWHM' holds 3 numbers for 4 bands"),
        ("Spectral_Data/Wavelength", np.array([b"red"]), "Wavelength' must be a list of numbers"),
        ("Coordinate_System/EPSG Code", "32612", "'EPSG Code': 32612 contradicts 'Map_Info' UTM"),
        ("Coordinate_System/EPSG Code", np.zeros((3, 3)), r"EPSG Code' must be one text, found float64 \(3, 3\)"),
        ("Coordinate_System/EPSG Code", "none", "'EPSG Code': 'none' is no CRS"),
        ("Coordinate_System/Map_Info", "UTM, 1, 1, x, 0, 1, 1", "'map info': expected numbers after 'UTM'"),
    ],
)
def test_neon_metadata_must_fit(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = write_neon(tmp_path / "neon.h5")
    with h5py.File(path, "r+") as file:
        group = file["SJER/Reflectance/Metadata"]
        del group[key]
        group[key] = value
    with pytest.raises(CubeError, match=message):
        open_raw(path)


def test_unknown_layouts_say_what_they_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["group/scene"] = CUBE
    with pytest.raises(CubeError, match=r"no known layout .* it holds \['group/scene'\]; export"):
        open_raw(tmp_path / "c.h5")


def turn_in_a_circle(content: bytes) -> bytes:
    """Make the list of free places in a group's names lead back to where it begins."""
    found = bytearray(content)
    heap = content.index(b"HEAP")
    size, free, place = struct.unpack_from("<QQQ", content, heap + 8)
    assert 8 < free < size
    struct.pack_into("<Q", found, place + free, free)
    return bytes(found)


def test_a_file_that_the_library_cannot_leave_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_neon(tmp_path / "neon.h5")
    path.write_bytes(turn_in_a_circle(path.read_bytes()))
    monkeypatch.setattr(hdf5, "_WALK_S", 1)
    with pytest.raises(CubeError, match="damaged: the HDF5 library crashes on it, or comes to no end within 1 s"):
        open_raw(path)


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = CUBE
    (tmp_path / "secret.raw").write_bytes(CUBE.tobytes())
    path = write_neon(tmp_path / "linked.h5", without="Reflectance_Data")
    with h5py.File(path, "r+") as file:
        file["SJER/Reflectance/Reflectance_Data"] = h5py.ExternalLink("secret.h5", "data")
    with pytest.raises(CubeError, match="'SJER/Reflectance/Reflectance_Data' is a link to another file"):
        open_raw(path)
    path = write_neon(tmp_path / "external.h5", without="Reflectance_Data")
    with h5py.File(path, "r+") as file:
        where = [(str(tmp_path / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
        file["SJER/Reflectance"].create_dataset("Reflectance_Data", CUBE.shape, CUBE.dtype, external=where)
    with pytest.raises(CubeError, match="'SJER/Reflectance/Reflectance_Data' lies in another file"):
        open_raw(path)
    path = write_neon(tmp_path / "virtual.h5", without="Reflectance_Data")
    with h5py.File(path, "r+") as file:
        layout = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", CUBE.shape)
        file["SJER/Reflectance"].create_virtual_dataset("Reflectance_Data", layout)
    with pytest.raises(CubeError, match="lies in another file"):
        open_raw(path)


def test_links_in_a_circle_have_an_end(tmp_path: Path) -> None:
    path = write_neon(tmp_path / "circle.h5")
    with h5py.File(path, "r+") as file:
        file["SJER/again"] = file["SJER"]
    assert open_raw(path).bands == 4
    with h5py.File(path, "r+") as file:
        file["SJER/soft"] = h5py.SoftLink("/SJER/soft")
    with pytest.raises(CubeError, match="too many links"):
        open_raw(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (10**6, 10**6, 426), "chunks": (10, 10, 426)}, "cannot fit in a file of this size"),
        ({"shape": (10**4, 10**4, 10), "chunks": (10**4, 10**4, 10)}, "too large to read in pieces|cannot fit"),
        ({"shape": (4, 4, 4), "dtype": "S3"}, "must be real numbers in 3 dimensions"),
        ({"shape": (4, 4), "dtype": "f4"}, r"must be real numbers in 3 dimensions, found float32 \(4, 4\)"),
    ],
)
def test_declared_sizes_are_checked_before_memory_is_taken(tmp_path: Path, options: Any, message: str) -> None:
    path = write_neon(tmp_path / "bomb.h5", without="Reflectance_Data")
    with h5py.File(path, "r+") as file:
        file["SJER/Reflectance"].create_dataset("Reflectance_Data", **{"dtype": "i2", **options})
    with pytest.raises(CubeError, match=message):
        open_raw(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    path = write_neon(tmp_path / "cut.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CubeError, match=r"cut\.h5: cannot be read as HDF5"):
        open_raw(path)
