"""ENVI files, against SPy and rasterio where those read right."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral.io.envi as spy
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from focus_core.cubes.readers import open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError, MissingInputError
from tests.focus_core.cubes.small_campaign import map_info, write_envi


def numbers(dtype: str = "int16", bands: int = 5, rows: int = 7, cols: int = 4) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.integers(0, 200, (bands, rows, cols)).astype(dtype)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_agrees_with_spy_and_rasterio(tmp_path: Path, interleave: str, byte_order: int, dtype: str) -> None:
    cube = numbers(dtype) * (1 if dtype == "uint16" else -1)
    path = write_envi(tmp_path / "c.raw", cube, interleave=interleave, byte_order=byte_order, map_info=map_info(3, 2))
    found = open_raw(path)
    values = found.data.compute()
    np.testing.assert_array_equal(values, cube)
    by_spy = spy.open(str(path.with_suffix(".hdr")), str(path)).open_memmap(interleave="bip")
    np.testing.assert_array_equal(values, np.asarray(by_spy).transpose(2, 0, 1))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(values, file.read())
        assert found.transform.almost_equals(file.transform)
        assert found.crs.to_epsg() == file.crs.to_epsg() == 32633
        tags = [float(file.tags(band)["wavelength"]) for band in file.indexes]
    np.testing.assert_allclose(found.wavelength, tags)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
    bands=st.integers(1, 5),
    offset=st.integers(0, 9),
    interleave=st.sampled_from(["bsq", "bil", "bip"]),
    byte_order=st.integers(0, 1),
)
def test_any_shape_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int, cols: int, bands: int, offset: int, interleave: str, byte_order: int,
) -> None:  # fmt: skip
    cube = np.arange(bands * rows * cols, dtype=np.int32).reshape(bands, rows, cols)
    path = tmp_path_factory.mktemp("envi") / "c.img"
    write_envi(path, cube, interleave=interleave, byte_order=byte_order, header_offset=str(offset))
    path.write_bytes(b"x" * offset + path.read_bytes())
    np.testing.assert_array_equal(open_raw(path.with_suffix(".hdr")).data.compute(), cube)


def test_a_silent_header_is_little_endian_from_the_first_byte_and_says_so(tmp_path: Path) -> None:
    cube = numbers()
    path = write_envi(tmp_path / "c.raw", cube, without=("byte order", "header offset", "file type"))
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), cube)
    assert [note.split("'")[1] for note in found.notes] == ["byte order", "header offset"]
    with pytest.raises(spy.MissingEnviHeaderParameter):
        spy.open(str(path.with_suffix(".hdr")), str(path))


def test_keys_lists_and_comments_of_many_writers(tmp_path: Path) -> None:
    path = write_envi(
        tmp_path / "c.raw",
        numbers(),
        bbl="{1, 0,1,\n 1,1 }",
        fwhm="{5,5,\n; a comment inside\n6,6,6}",
        data_ignore_value="-99",
        reflectance_scale_factor="10000",
        band_names="{a (x, y), b, c, d, e}",
    )
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text().replace("samples", "; note = 1\nSAMPLES  "), encoding="utf-8")
    found = open_raw(path)
    assert found.good_band is not None
    assert found.good_band.tolist() == [True, False, True, True, True]
    assert found.fwhm is not None
    assert found.fwhm.tolist() == [5, 5, 6, 6, 6]
    assert found.fill == -99.0
    assert found.gain is not None
    np.testing.assert_allclose(found.gain, 1e-4)


def test_headers_of_windows_programs(tmp_path: Path) -> None:
    cube = numbers()
    path = write_envi(tmp_path / "c.raw", cube, bbl="\n{1,\n0,1,1,1}", wavelength="\n{0.4,0.5,0.6,0.7,0.8}")
    header = path.with_suffix(".hdr")
    written = header.read_text().replace("Nanometers", "µm").replace("\n", "\r\n").encode("latin-1")
    header.unlink()
    path.rename(tmp_path / "C.IMG")
    (tmp_path / "C.HDR").write_bytes(written)
    for name in ("C.IMG", "C.HDR"):
        found = open_raw(tmp_path / name)
        np.testing.assert_array_equal(found.data.compute(), cube)
        assert decide_wavelengths(found, None).nm.tolist() == [400, 500, 600, 700, 800]
        assert found.good_band is not None
        assert found.good_band.tolist() == [True, False, True, True, True]


def test_a_header_does_not_choose_between_two_data_files(tmp_path: Path) -> None:
    """Counts and what a program made of them may lie side by side."""
    path = write_envi(tmp_path / "c.raw", numbers())
    write_envi(tmp_path / "c.dat", numbers() // 2)
    with pytest.raises(CubeError, match=r"c\.hdr: which of \['c\.dat', 'c\.raw'\] is its data\? name that file "):
        open_raw(path.with_suffix(".hdr"))
    np.testing.assert_array_equal(open_raw(tmp_path / "c.dat").data.compute(), numbers() // 2)


@pytest.mark.parametrize(("datum", "epsg"), [("WGS-84", 32633), ("WGS84", 32633), ("North America 1983", None)])
def test_the_datum_counts(tmp_path: Path, datum: str, epsg: int | None) -> None:
    for zone, code in ((33, epsg), (12, 26912 if epsg is None else 32612)):
        info = f"{{UTM, 1, 1, 400000, 5000000, 1, 1, {zone}, North, {datum}, units=Meters}}"
        crs = open_raw(write_envi(tmp_path / "c.raw", numbers(), map_info=info)).crs
        assert (None if crs is None else crs.to_epsg()) == code


def test_wavelengths_in_band_names(tmp_path: Path) -> None:
    names = "{" + ", ".join(f"Resize (Band {i}, part) ({400 + 10 * i}.5)" for i in range(5)) + "}"
    path = write_envi(tmp_path / "a.raw", numbers(), without=("wavelength", "wavelength units"), band_names=names)
    found = open_raw(path)
    assert found.wavelength is not None
    assert found.wavelength.tolist() == [400.5, 410.5, 420.5, 430.5, 440.5]
    assert found.wavelength_units is None
    names = "{" + ", ".join(f"{0.4 + i / 100:.3f} Micrometers" for i in range(5)) + "}"
    path = write_envi(tmp_path / "b.raw", numbers(), without=("wavelength", "wavelength units"), band_names=names)
    assert open_raw(path).wavelength_units == "micrometers"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Bands": "4"}, r"'bands': stands twice and contradicts itself; keep one"),
        ({"interleave": "bup"}, r"c\.hdr: 'interleave': expected bsq, bil or bip, found 'bup'"),
        ({"lines": "8"}, r"c\.raw: 280 bytes, but c\.hdr describes 320"),
        ({"lines": "6"}, r"280 bytes, but c\.hdr describes 240"),
        ({"data_type": "6"}, r"'data type': expected one of"),
        ({"data_type": "two"}, r"'data type': expected a whole number, found 'two'"),
        ({"samples": "-4"}, r"'samples': expected a whole number from 1 on, found -4"),
        ({"samples": "99999999999"}, r"'samples': expected a whole number from 1 on"),
        ({"byte_order": "2"}, r"'byte order': expected 0"),
        ({"wavelength": "{1, 2}"}, r"'wavelength': holds 2 numbers for 5 bands"),
        ({"wavelength": "{1, 2, , 4, 5}"}, r"'wavelength': expected numbers: could not convert string to float: ''"),
        ({"wavelength": "{1, 2, , 3, 4, 5}"}, r"'wavelength': holds 6 numbers for 5 bands"),
        ({"wavelength": "{1, 2, 3, 4, x}"}, r"'wavelength': expected numbers"),
        ({"wavelength": "{1, 2, 3"}, r"'wavelength': the list has no closing brace"),
        ({"bbl": "{1, 0}"}, r"'bbl': holds 2 numbers for 5 bands"),
        ({"file_type": "ENVI Spectral Library"}, r"a spectral library is not an image"),
        ({"file_compression": "1"}, r"'file compression': is not supported"),
        ({"map_info": "{UTM, 1, 1, 0, 0, 1, 1, 33, North, WGS-84, rotation=12.5}"}, "rotated images are not read"),
        ({"map_info": "{UTM, 1, 1, 0, 0, 0, 1, 33, North, WGS-84}"}, "pixel sizes must be positive"),
        ({"map_info": "{UTM, 1, 1, 0, 0, 1, 1, 33, North, WGS-84, units=Feet}"}, "'units=Feet', but UTM counts metres"),
        ({"coordinate_system_string": "{nonsense}", "map_info": "{UTM, 1, 1, 0, 0, 1, 1, 33}"}, "not valid WKT"),
        ({"reflectance_scale_factor": "0"}, "must be positive"),
        ({"reflectance_scale_factor": "10", "data_gain_values": "{1,1,1,1,1}"}, "keep one"),
    ],
)
def test_contradictions_are_refused_by_key(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    path = write_envi(tmp_path / "c.raw", numbers(), **fields)
    with pytest.raises(CubeError, match=message):
        open_raw(path)


def test_a_missing_partner_is_named(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "c.raw", numbers())
    path.unlink()
    with pytest.raises(MissingInputError, match=r"c\.hdr: no data file beside the header"):
        open_raw(tmp_path / "c.hdr")
    with pytest.raises(MissingInputError, match=r"c\.raw: no such file"):
        open_raw(path)
    path.write_bytes(b"\0" * 280)
    (tmp_path / "c.hdr").unlink()
    with pytest.raises(CubeError, match="no ENVI header lies beside it"):
        open_raw(path)


def test_a_partner_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    path = write_envi(outside / "c.raw", numbers())
    (inside / "c.raw").symlink_to(path)
    (inside / "c.hdr").write_text((outside / "c.hdr").read_text())
    with pytest.raises(CubeError, match="a link out of its folder"):
        open_raw(inside / "c.hdr")


def test_the_file_is_not_read_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.raw"
    write_envi(path, numbers("uint16", 3, 2, 2), lines="100000", samples="50000")
    with path.open("r+b") as file:
        file.truncate(100_000 * 50_000 * 3 * 2)  # a hole of 30 GB
    found = open_raw(path)
    assert found.data[0, 70_000, :10].compute().tolist() == [0] * 10


def test_real_headers_agree_with_rasterio(real_data: Path) -> None:
    for name in ("odd_envi_and_units/cubus_gamsberg_subset", "odd_envi_and_units/envi/envi"):
        found = open_raw(real_data / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(real_data / name) as file:
                np.testing.assert_array_equal(found.data.compute(), file.read())


def test_an_auxiliary_file_does_not_shadow_the_header(real_data: Path) -> None:
    folder = real_data / "odd_envi_and_units" / "envi"
    assert (folder / "envi.aux.xml").is_file()
    assert open_raw(folder / "envi").wavelength_units == "Micrometers"
