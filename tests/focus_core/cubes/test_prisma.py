"""PRISMA scenes, generated in the layout of the agency's files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from focus_core.cubes.readers import open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import CubeError

ROWS, COLS = 5, 4
RNG = np.random.default_rng(0)
VNIR, SWIR = (RNG.integers(1, 65535, (ROWS, bands, COLS)).astype(np.uint16) for bands in (6, 5))
"""``(line, band, pixel)``."""
VNIR_NM = np.array([0.0, 1000.0, 850.0, 700.0, 550.0, 400.0])
SWIR_NM = np.array([2500.0, 2000.0, 1500.0, 950.0, 0.0])
ATTRS: dict[str, Any] = {
    "Processing_Level": b"2D",
    "List_Cw_Vnir": VNIR_NM.astype(np.float32),
    "List_Cw_Swir": SWIR_NM.astype(np.float32),
    "List_Fwhm_Vnir": np.full(6, 12.0, dtype=np.float32),
    "List_Fwhm_Swir": np.full(5, 10.0, dtype=np.float32),
    "L2ScaleVnirMin": np.float32(-0.1),
    "L2ScaleVnirMax": np.float32(1.2),
    "L2ScaleSwirMin": np.float32(0.0),
    "L2ScaleSwirMax": np.float32(0.9),
    "ScaleFactor_Vnir": np.float32(100.0),
    "Offset_Vnir": np.float32(0.5),
    "ScaleFactor_Swir": np.float32(50.0),
    "Offset_Swir": np.float32(0.0),
    "Epsg_Code": np.int64(32633),
    "Product_ULcorner_easting": 500_000.0,
    "Product_ULcorner_northing": 4_500_000.0,
    "Product_LRcorner_easting": 500_000.0 + 30.0 * COLS,
    "Product_LRcorner_northing": 4_500_000.0 - 30.0 * ROWS,
}


def write_prisma(path: Path, *, level: str = "2D", without: str = "", **attrs: Any) -> Path:
    """The objects of a PRISMA file that matter here."""
    with h5py.File(path, "w") as file:
        group = file.create_group(f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields")
        for name, values in (("VNIR_Cube", VNIR), ("SWIR_Cube", SWIR)):
            if name != without:
                group.create_dataset(name, data=values, chunks=(2, values.shape[1], 4), compression="gzip")
        group.create_dataset("VNIR_PIXEL_L2_ERR_MATRIX", data=np.zeros(VNIR.shape, dtype=np.uint8))
        place = file.create_group(f"HDFEOS/SWATHS/PRS_L{level}_HCO/Geolocation Fields")
        place["Latitude"], place["Longitude"] = np.zeros((ROWS, COLS)), np.zeros((ROWS, COLS))
        pan = file.create_group(f"HDFEOS/SWATHS/PRS_L{level}_PCO/Data Fields")
        pan["Cube"] = np.zeros((6 * ROWS, 6 * COLS), dtype=np.uint16)
        file["HDFEOS INFORMATION/StructMetadata.0"] = "GROUP=SwathStructure"
        file.attrs.update({key: value for key, value in {**ATTRS, **attrs}.items() if key != without})
    return path


def test_both_cubes_are_joined_without_absent_bands(tmp_path: Path) -> None:
    found = open_raw(write_prisma(tmp_path / "scene"))
    stored = np.concatenate([VNIR[:, 1:], SWIR[:, :-1]], axis=1).transpose(1, 0, 2)
    np.testing.assert_array_equal(found.data.compute(), stored)
    np.testing.assert_array_equal(found.data[:, 1:4, 2:].compute(), stored[:, 1:4, 2:])
    assert found.data.numblocks[0] == 1
    wavelengths = decide_wavelengths(found, None)
    assert wavelengths.nm.tolist() == [400, 550, 700, 850, 950, 1000, 1500, 2000, 2500]
    assert wavelengths.fwhm_nm.tolist() == [12, 12, 12, 12, 10, 12, 10, 10, 10]
    assert wavelengths.order.tolist() == [4, 3, 2, 1, 8, 0, 7, 6, 5]
    assert wavelengths.decision == "attributes 'List_Cw_Vnir' and 'List_Cw_Swir', declared as nm"
    assert (found.quantity, found.fill) == ("reflectance", 0.0)


def test_level_2_counts_run_from_the_least_to_the_largest_value(tmp_path: Path) -> None:
    found = open_raw(write_prisma(tmp_path / "scene.he5"))
    assert found.gain is not None
    assert found.offset is not None
    full = 65535 * found.gain + found.offset
    np.testing.assert_allclose(full, [1.2] * 5 + [0.9] * 4, rtol=1e-6)
    np.testing.assert_allclose(found.offset, [-0.1] * 5 + [0.0] * 4, rtol=1e-6)


def test_level_1_is_radiance_without_a_map(tmp_path: Path) -> None:
    found = open_raw(write_prisma(tmp_path / "scene.he5", level="1"))
    assert (found.quantity, found.fill, found.transform, found.crs) == ("radiance", None, None, None)
    assert found.gain is not None
    assert found.offset is not None
    np.testing.assert_allclose(1000 * found.gain + found.offset, [9.5] * 5 + [20.0] * 4)


@pytest.mark.parametrize("centres", [False, True])
def test_corners_are_those_of_pixels_or_their_centres(tmp_path: Path, centres: bool) -> None:
    moved = {} if not centres else {
        "Product_ULcorner_easting": 500_015.0,
        "Product_ULcorner_northing": 4_499_985.0,
        "Product_LRcorner_easting": 500_000.0 + 30.0 * COLS - 15.0,
        "Product_LRcorner_northing": 4_500_000.0 - 30.0 * ROWS + 15.0,
    }  # fmt: skip
    found = open_raw(write_prisma(tmp_path / "scene.he5", **moved))
    assert found.crs.to_epsg() == 32633
    assert tuple(found.transform)[:6] == (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_500_000.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": "SWIR_Cube"}, r"expected the VNIR and the SWIR cube of one level, found \['VNIR'\]"),
        ({"without": "List_Cw_Vnir"}, "'List_Cw_Vnir' must hold 6 numbers, found"),
        ({"List_Cw_Swir": np.ones(3)}, "'List_Cw_Swir' must hold 5 numbers, found"),
        ({"List_Cw_Swir": np.zeros(5)}, "'List_Cw_Swir' is 0 in every band"),
        ({"L2ScaleSwirMax": 0.0}, "'L2ScaleSwirMax' 0 must be larger than 'L2ScaleSwirMin' 0"),
        ({"L2ScaleSwirMax": "much"}, "'L2ScaleSwirMax' must be a number, found 'much'"),
        ({"without": "Epsg_Code"}, "'Epsg_Code' must be a number, found None"),
        ({"Epsg_Code": 1}, "'Epsg_Code' 1 is no CRS"),
        ({"Product_LRcorner_easting": 500_090.0}, "corners 90 × 150 m apart do not fit 4 × 5 pixels of 30 m"),
        ({"level": "1", "ScaleFactor_Vnir": 0.0}, "'ScaleFactor_Vnir' must be positive, found 0"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(CubeError, match=message):
        open_raw(write_prisma(tmp_path / "scene.he5", **changes))
