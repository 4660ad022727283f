"""MATLAB and GeoTIFF files, and how formats are told apart."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from focus_core.cubes.readers import open_layer, open_raw
from focus_core.errors import CubeError
from tests.focus_core.cubes.small_campaign import TRANSFORM, write_envi


def write_tiff(path: Path, cube: np.ndarray, tags: list[dict[str, str]] | None = None, **profile: object) -> Path:
    shape = {"count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2], "dtype": cube.dtype}
    options = {"crs": CRS.from_epsg(32633), "transform": TRANSFORM} | shape | profile
    with rasterio.open(path, "w", driver="GTiff", **options) as file:
        file.write(cube)
        for band, tag in enumerate(tags or [], start=1):
            file.update_tags(band, **tag)
    return path


def test_matlab_array_turns_to_band_y_x(tmp_path: Path) -> None:
    cube = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    scipy.io.savemat(tmp_path / "c.mat", {"scene": cube, "note": "text", "plane": cube[0]})
    found = open_raw(tmp_path / "c.mat")
    np.testing.assert_array_equal(found.data.compute(), cube.transpose(2, 0, 1))
    assert found.wavelength is None


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u8", "f4", "f8"])
def test_matlab_arrays_are_those_that_scipy_reads(tmp_path: Path, compressed: bool, dtype: str) -> None:
    path = tmp_path / "c.mat"
    cube = np.random.default_rng(0).integers(0, 250, (3, 4, 5)).astype(dtype)
    others = {
        "text": "abc",
        "cell": np.array([1, "a"], dtype=object),
        "struct": {"a": cube},
        "z": 1j * cube,
        "b": cube > 9,
    }
    scipy.io.savemat(path, {"a_name_longer_than_eight": cube, **others}, do_compression=compressed)
    found = open_raw(path, variable="a_name_longer_than_eight").data.compute()
    np.testing.assert_array_equal(found, scipy.io.loadmat(path)["a_name_longer_than_eight"].transpose(2, 0, 1))
    assert found.dtype == dtype
    np.testing.assert_array_equal(open_raw(path, variable="b").data.compute(), (cube > 9).transpose(2, 0, 1))
    with pytest.raises(CubeError, match=r"found: a_name_longer_than_eight \(3, 4, 5\), b \(3, 4, 5\); name"):
        open_raw(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_matlab_file_is_read_piece_by_piece(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "c.mat"
    cube = np.random.default_rng(0).integers(0, 4, (300, 600, 100), np.uint8)
    scipy.io.savemat(path, {"a": cube}, do_compression=compressed)
    tracemalloc.start()
    try:
        found = open_raw(path)
        corner = found.data[:, 290:, 590:].compute()
        assert tracemalloc.get_traced_memory()[1] < cube.nbytes / 2
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(corner, cube[290:, 590:].transpose(2, 0, 1))
    np.testing.assert_array_equal(found.data[7, :, 300].compute(), cube[:, 300, 7])


def test_matlab_variable_must_be_clear(tmp_path: Path) -> None:
    cube = np.ones((3, 4, 5))
    scipy.io.savemat(tmp_path / "c.mat", {"a": cube, "b": 2 * cube})
    with pytest.raises(CubeError, match=r"found: a \(3, 4, 5\), b \(3, 4, 5\); name the 'variable'"):
        open_raw(tmp_path / "c.mat")
    assert open_raw(tmp_path / "c.mat", variable="b").data.max().compute() == 2
    with pytest.raises(CubeError, match="no numeric array 'c' of 3 dimensions"):
        open_raw(tmp_path / "c.mat", variable="c")


def test_a_cut_matlab_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "c.mat"
    scipy.io.savemat(path, {"a": rng.random((9, 9, 9))}, do_compression=True)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CubeError, match="cannot be read as a MATLAB file"):
        open_raw(path)


def test_a_matlab_file_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"a": np.zeros((2, 2, 2))})
    content = bytearray(path.read_bytes())
    at = content.index(np.array([2, 2, 2], "<i4").tobytes())
    content[at : at + 12] = np.array([60_000, 60_000, 500], "<i4").tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(CubeError, match="cannot fit in a file of this size"):
        open_raw(path)


def test_geotiff_tags_of_every_band(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cube = rng.integers(0, 9999, (3, 300, 5)).astype(np.int16)
    tags = [
        {"wavelength": f"{nm}", "wavelength_units": "Nanometers", "fwhm": "7", "bbl": f"{good}"}
        for nm, good in ((500, 1), (600, 0), (550, 1))
    ]
    path = write_tiff(tmp_path / "c.tif", cube, tags, nodata=-32768)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,) * 3, (0.01,) * 3
    found = open_raw(path)
    np.testing.assert_array_equal(found.data.compute(), cube)
    np.testing.assert_array_equal(found.data[:, 250:300, 1:3].compute(), cube[:, 250:300, 1:3])
    np.testing.assert_array_equal(found.data[:, [2, 270], :].compute(), cube[:, [2, 270], :])
    assert found.wavelength is not None
    assert found.wavelength.tolist() == [500, 600, 550]
    assert found.good_band is not None
    assert found.good_band.tolist() == [True, False, True]
    assert found.gain is not None
    assert found.gain.tolist() == [1e-4] * 3
    assert found.offset is not None
    assert found.offset.tolist() == [0.01] * 3
    assert (found.fill, found.wavelength_units, found.crs.to_epsg()) == (-32768, "Nanometers", 32633)
    assert found.transform == TRANSFORM


def test_geotiff_tags_on_some_bands_only_are_refused(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "c.tif", np.ones((3, 4, 4), np.int16), [{"wavelength": "500"}, {}, {"wavelength": "x"}]
    )
    with pytest.raises(CubeError, match=r"band tag 'wavelength' is missing on bands \[2\]"):
        open_raw(path)


def test_a_geotiff_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    """Tiles without a byte in the file stand for zeros: 40 GB of them here."""
    options = {"driver": "GTiff", "count": 5, "height": 65_536, "width": 65_536, "dtype": "uint16"}
    with rasterio.open(
        tmp_path / "bomb.tif", "w", tiled=True, blockxsize=4096, blockysize=4096, sparse_ok=True,
        crs=CRS.from_epsg(32633), transform=TRANSFORM, **options,
    ):  # fmt: skip
        pass
    assert (tmp_path / "bomb.tif").stat().st_size < 100_000
    with pytest.raises(CubeError, match=r"bomb\.tif: 'image' declares \d+ bytes and cannot fit in a file of this size"):
        open_raw(tmp_path / "bomb.tif")


def test_a_cut_geotiff_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "c.tif", np.ones((3, 90, 90), np.int16))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CubeError, match="cannot be read as GeoTIFF"):
        open_raw(path).data.compute()


@pytest.mark.parametrize("internal", [True, False])
def test_pixels_that_a_mask_or_an_alpha_band_hides_are_no_data(tmp_path: Path, internal: bool) -> None:
    cube = np.ones((5, 3, 4), np.uint16)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write_tiff(tmp_path / "masked.tif", cube)
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.eye(3, 4, dtype=bool))
    with pytest.raises(CubeError, match=r"masked\.tif: hides pixels by a mask, which is not read; export it without"):
        open_raw(path)
    path = write_tiff(tmp_path / "alpha.tif", cube)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
    with pytest.raises(CubeError, match="hides pixels by an alpha band"):
        open_raw(path)
    path = write_tiff(tmp_path / "gt.tif", cube[:1])
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(3, 4, dtype=bool))
    with pytest.raises(CubeError, match=r"gt\.tif: hides pixels by a mask"):
        open_layer(path)


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    cube = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    named_wrong = write_tiff(tmp_path / "tiff.bsq", cube)
    np.testing.assert_array_equal(open_raw(named_wrong).data.compute(), cube)
    envi = write_envi(tmp_path / "envi.tif", cube)
    np.testing.assert_array_equal(open_raw(envi).data.compute(), cube)
    for path in (named_wrong, envi, envi.with_suffix(".hdr")):
        with pytest.raises(CubeError, match="holds one array, so there is no 'variable' scene to choose; leave it out"):
            open_raw(path, variable="scene")
    (tmp_path / "noise.bin").write_bytes(b"\1\2\3")
    with pytest.raises(CubeError, match="neither TIFF, MATLAB, HDF5 nor NetCDF"):
        open_raw(tmp_path / "noise.bin")
    (tmp_path / "arc.hdr").write_text("BYTEORDER I\nLAYOUT BIL\n")
    (tmp_path / "arc.bil").write_bytes(b"\1\2\3")
    with pytest.raises(CubeError, match="no ENVI header lies beside it"):
        open_raw(tmp_path / "arc.bil")


def test_layers_hold_one_plane(tmp_path: Path) -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    scipy.io.savemat(tmp_path / "gt.mat", {"gt": plane})
    np.testing.assert_array_equal(open_layer(tmp_path / "gt.mat").values, plane)
    path = write_tiff(tmp_path / "gt.tif", plane[None], nodata=7)
    np.testing.assert_array_equal(open_layer(path).values, np.where(plane == 7, np.nan, plane))
    wide = np.array([[2**31 - 1, 2**31 - 2, 5]], dtype=np.int32)
    path = write_tiff(tmp_path / "wide.tif", wide[None], nodata=5)
    np.testing.assert_array_equal(open_layer(path).values, [[2**31 - 1, 2**31 - 2, np.nan]])
    with pytest.raises(CubeError, match="expected one band, found 2"):
        open_layer(write_tiff(tmp_path / "two.tif", np.ones((2, 3, 4), np.uint8)))
    turned = Affine(0.4, 0.3, 412_000.0, 0.3, -0.4, 5_821_000.0)
    with pytest.raises(CubeError, match="rotated or mirrored images are not read"):
        open_layer(write_tiff(tmp_path / "turned.tif", plane[None], transform=turned))


def test_real_salinas_agrees_with_scipy(real_data: Path) -> None:
    path = real_data / "salinasA" / "SalinasA.mat"
    found = open_raw(path).data.compute()
    assert found.shape == (224, 83, 86)
    np.testing.assert_array_equal(found, scipy.io.loadmat(path)["salinasA"].transpose(2, 0, 1))
    labels = open_layer(real_data / "salinasA" / "SalinasA_gt.mat").values
    assert np.unique(labels).tolist() == [0, 1, 10, 11, 12, 13, 14]


def test_real_enmap_agrees_with_rasterio(real_data: Path) -> None:
    for path in sorted((real_data / "enmap_potsdam_tiles" / "images").glob("*.tif"))[:3]:
        found = open_raw(path)
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(found.data.compute(), file.read())
            assert found.transform == file.transform
            assert found.fill == file.nodata
            assert found.gain is not None
            assert found.gain.tolist() == list(file.scales)
