"""Every file in the folder of real data: read right, against an independent reader, or refused with file and remedy."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
import spectral.io.envi as spy
from rasterio.errors import NotGeoreferencedWarning

from focus_core.config import LinearWavelengths
from focus_core.cubes.readers import open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError, MissingInputError

ODD, BSQ = "odd_envi_and_units", "odd_envi_and_units/wavelength"
NO_CUBE = "neither TIFF, MATLAB, HDF5 nor NetCDF, .*; name the file of a cube"
TOO_FEW = r"2 band\(s\); a hyperspectral cube has at least 3"
SILENT = "names no wavelengths; give 'wavelengths' of its {} bands in nm in the campaign file"
NO_DATA = "no data file beside the header"
CLIPPED = r"20 bytes, but kmeans_training_5\.hdr describes 8: .*; correct the header or copy the file again"
LIBRARY = "speclib.hdr: 'file type': a spectral library is not an image; name the file of a cube"
ZERO_NM = "wavelengths 0 to 940 declared as nm lie outside 200 to 20000 nm; correct the unit in the file"


def check_envi(path: Path) -> None:
    """Values and place by GDAL; wavelengths by SPy's parser, because GDAL lets ``envi.aux.xml`` shadow the header."""
    found = open_raw(path)
    header_path, data_path = found.files
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(data_path, driver="ENVI")
    with file:
        np.testing.assert_array_equal(found.data.compute(), file.read())
        assert (found.crs is None) == (file.crs is None)
        if found.crs is not None:
            assert found.crs == file.crs
            assert found.transform.almost_equals(file.transform)
        assert found.fill == file.nodata
    header = spy.read_envi_header(str(header_path))
    per_nm = 1e3 if header.get("wavelength units") == "Micrometers" else 1.0
    nm = np.array(header["wavelength"], dtype=np.float64) * per_nm
    wavelengths = decide_wavelengths(found, None)
    np.testing.assert_allclose(wavelengths.nm, np.sort(nm))
    np.testing.assert_allclose(nm[wavelengths.order], wavelengths.nm)
    widths = header.get("fwhm")
    assert (found.fwhm is None) == (widths is None)
    if widths is not None:
        np.testing.assert_allclose(wavelengths.fwhm_nm, np.array(widths, np.float64)[wavelengths.order] * per_nm)
    listed = header.get("bbl")
    if listed is not None:
        assert found.good_band is not None
        assert found.good_band.tolist() == [float(good) > 0 for good in listed]


def check_tiff(path: Path) -> None:
    found = open_raw(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(found.data.compute(), file.read())
        assert (found.transform, found.crs, found.fill) == (file.transform, file.crs, file.nodata)
        assert found.gain is not None
        assert found.gain.tolist() == list(file.scales)
        tags = [file.tags(band) for band in file.indexes]
    wavelengths = decide_wavelengths(found, None)
    assert {tag["wavelength_units"] for tag in tags} == {"Nanometers"}
    for key, values in (("wavelength", wavelengths.nm), ("fwhm", wavelengths.fwhm_nm)):
        np.testing.assert_allclose(values, np.array([float(tag[key]) for tag in tags])[wavelengths.order])
    assert not wavelengths.sorted_in_file
    assert found.good_band is not None
    assert found.good_band.tolist() == [tag["bbl"] == "1" for tag in tags]


def check_neon(path: Path) -> None:
    found = open_raw(path)
    with h5py.File(path) as file:
        site = file["SJER/Reflectance"]
        np.testing.assert_array_equal(found.data.compute(), site["Reflectance_Data"][()].transpose(2, 0, 1))
        np.testing.assert_array_equal(decide_wavelengths(found, None).nm, site["Metadata/Spectral_Data/Wavelength"][()])
    assert found.gain is not None
    np.testing.assert_allclose(found.gain, 1e-4)
    assert (found.fill, found.crs.to_epsg()) == (-9999, 32611)
    assert tuple(found.transform)[:6] == (1, 0, 257_000, 0, -1, 4_112_000)


def check_matlab(variable: str) -> Callable[[Path], None]:
    """MATLAB files name no wavelengths; the campaign file does."""

    def check(path: Path) -> None:
        found = open_raw(path, variable=variable)
        expected = scipy.io.loadmat(path)[variable].transpose(2, 0, 1)
        np.testing.assert_array_equal(found.data.compute(), expected)
        named = decide_wavelengths(found, LinearWavelengths(first_nm=430, last_nm=860))
        assert named.decision == "nm in the campaign file"
        assert len(named.nm) == len(expected)

    return check


READ: dict[str, Callable[[Path], None]] = {
    "enmap_potsdam_tiles/images/*.tif": check_tiff,
    "maize_B73_envi_with_refs/*.hdr": check_envi,
    "maize_B73_envi_with_refs/*.raw": check_envi,
    "neon_sjer_aop_h5/ex.h5": check_neon,
    f"{ODD}/cubus_gamsberg_subset": check_envi,
    f"{ODD}/cubus_gamsberg_subset.hdr": check_envi,
    f"{ODD}/envi/envi": check_envi,
    f"{ODD}/envi/envi.hdr": check_envi,
    "odd_headwall_headers/darkReference": check_envi,
    "odd_headwall_headers/darkReference.hdr": check_envi,
    "pavia_negative_subset/PaviaU_30.mat": check_matlab("Y"),
    "pavia_negative_subset/reg_pavia_dataset.mat": check_matlab("I1"),
    "salinasA/SalinasA.mat": check_matlab("salinasA"),
}
REFUSED = {
    "enmap_potsdam_tiles/labels/*.tif": SILENT.format(1),
    "enmap_potsdam_tiles/enmap_landcover_unstyled.tif": SILENT.format(1),
    "salinasA/SalinasA_gt.mat": "expected one numeric array of 3 dimensions, found: none; name the 'variable'",
    "prosail_reference/*.mat": "expected one numeric array of 3 dimensions, found: none; name the 'variable'",
    f"{ODD}/enmap_berlin.hdr": NO_DATA,
    f"{ODD}/envi/speclib.*": LIBRARY,
    f"{ODD}/history_tiff_named_bsq.bsq": TOO_FEW,
    f"{BSQ}/enmapbox_envidomain_bandlevel.tif": r"bands name wavelengths in several units \['m', 'n'\]; use one",
    f"{BSQ}/enmapbox_envidomain_dslevel.tif": TOO_FEW,
    f"{BSQ}/envi_wl_*.bsq": TOO_FEW,
    f"{BSQ}/envi_wl_*.hdr": TOO_FEW,
    f"{BSQ}/gdal_wl_*.tif": TOO_FEW,
    f"{BSQ}/gdal_no_info.tif": SILENT.format(2),
    f"{BSQ}/staclike.tif": SILENT.format(2),
    "odd_headwall_headers/*arcgis.hdr": r"an ESRI header \(first key BYTEORDER\) is not read; export the cube as ENVI",
    "odd_headwall_headers/darkReference[234].hdr": NO_DATA,
    "odd_headwall_headers/kmeans_training_5.*": CLIPPED,
    "odd_headwall_headers/test-hyperspectral-uint8.*": ZERO_NM,
    **dict.fromkeys(("*.md", "*.csv", "*.txt", "*.json", "*.geojson", "*.xml", "*.npy", "*.gpkg", "*.RData"), NO_CUBE),
}


def listed(path: Path, root: Path, patterns: list[str]) -> str | None:
    """The first pattern that a file matches; one with a folder counts from the root."""
    inside = path.relative_to(root)
    return next(
        (p for p in patterns if inside.match(p) and ("/" not in p or p.count("/") == str(inside).count("/"))), None
    )


def test_every_file_is_in_one_list_and_does_what_the_list_says(real_data: Path) -> None:
    seen: dict[str, int] = {}
    for path in sorted(path for path in real_data.rglob("*") if path.is_file()):
        pattern = listed(path, real_data, [*READ, *REFUSED])
        assert pattern is not None, f"{path} is in no list: read it or refuse it, and say which"
        seen[pattern] = seen.get(pattern, 0) + 1
        if pattern in READ:
            READ[pattern](path)
            continue
        with pytest.raises((CubeError, MissingInputError), match=REFUSED[pattern]) as refused:
            decide_wavelengths(open_raw(path), None)
        assert path.stem.split(".")[0] in str(refused.value)
    assert set(seen) == {*READ, *REFUSED}
    assert (seen["enmap_potsdam_tiles/images/*.tif"], seen["enmap_potsdam_tiles/labels/*.tif"]) == (12, 12)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("darkReference2.hdr", r"'wavelength': holds 35 numbers for 978 bands; correct the header"),
        ("darkReference4.hdr", r"'interleave': expected bsq, bil or bip, found 'bup'"),
    ],
)
def test_broken_headers_beside_their_data(real_data: Path, tmp_path: Path, header: str, message: str) -> None:
    """The folder keeps the data once; SPy and GDAL read both headers without a word."""
    shutil.copy(real_data / "odd_headwall_headers" / header, tmp_path / "scan.hdr")
    shutil.copy(real_data / "odd_headwall_headers" / "darkReference", tmp_path / "scan.raw")
    with pytest.raises(CubeError, match=message):
        open_raw(tmp_path / "scan.hdr")
    shutil.copy(real_data / "odd_headwall_headers" / "darkReference3.hdr", tmp_path / "scan.hdr")
    check_envi(tmp_path / "scan.hdr")


def test_wavelengths_of_small_files_are_those_that_others_see(real_data: Path) -> None:
    """Two bands make no cube, but each place where a TIFF may name them is read."""
    folder = real_data / BSQ
    for name, source in (
        ("enmapbox_envidomain_dslevel.tif", "'wavelength' in the ENVI domain"),
        ("gdal_wl_fwhm.tif", "'CENTRAL_WAVELENGTH_UM' in the IMAGERY domain"),
        ("gdal_wl_only.tif", "'CENTRAL_WAVELENGTH_UM' in the IMAGERY domain"),
    ):
        found = open_raw(folder / name)
        assert found.wavelength is not None
        per_nm = {"nm": 1.0, "um": 1e3}[found.wavelength_units or ""]
        np.testing.assert_allclose(found.wavelength * per_nm, [400, 500])
        assert found.wavelength_source == source
        with rasterio.open(folder / name) as file:
            np.testing.assert_array_equal(found.data.compute(), file.read())
    fwhm = open_raw(folder / "gdal_wl_fwhm.tif").fwhm
    assert fwhm is not None
    assert fwhm.tolist() == [0.01, 0.02]
