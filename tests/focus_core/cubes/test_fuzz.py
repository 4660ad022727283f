"""Damaged files: refused with a `FocusError`, or read as another reader reads them; quickly, and in little memory.

``FOCUS_FUZZ_EXAMPLES`` is the number of files for each test.
"""

import json
import os
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import spectral.io.envi as spy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from focus_core.cubes.readers import hdf5, open_raw
from focus_core.cubes.wavelengths import decide_wavelengths
from focus_core.errors import FocusError
from tests.focus_core.cubes.small_campaign import map_info, write_envi
from tests.focus_core.cubes.test_cf import NM, dataset, to_netcdf, to_zarr
from tests.focus_core.cubes.test_hdf5 import write_matlab73, write_neon
from tests.focus_core.cubes.test_pages import write_pages
from tests.focus_core.cubes.test_prisma import write_prisma
from tests.focus_core.cubes.test_readers import write_tiff

# rasterio cannot print what GDAL quotes from damaged files, and says so.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

EXAMPLES = int(os.environ.get("FOCUS_FUZZ_EXAMPLES", "60"))
CUBE = np.random.default_rng(0).integers(0, 9000, (4, 6, 5)).astype(np.int16)
LONGEST_S, LARGEST_MIB = 30.0, 400
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the HDF5 library cannot leave is refused after a minute, which is longer than a test may take."""
    monkeypatch.setattr(hdf5, "_WALK_S", 5)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def values_of(path: Path) -> Any:
    """The cube, none where it is refused; slow, large and other failures are failures of the test."""
    started, before = time.monotonic(), peak_mib()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cube = open_raw(path)
            values = cube.data[:, :64, :64].compute()
            decide_wavelengths(cube, None)
    except FocusError as error:
        # A cube without wavelengths is one that was read.
        return values if "names no wavelengths" in str(error) else None
    finally:
        assert time.monotonic() - started < LONGEST_S
        assert peak_mib() - before < LARGEST_MIB
    return values


words = st.one_of(
    st.integers(-2, 12).map(str),
    st.sampled_from(
        ["bsq", "bil", "BIP", "bup", "", "{", "}", "{1, 2}", "nan", "inf", "1e9", "4.0", "0x4", "4294967297"]
    ),
    st.text(max_size=12),
)


change = st.tuples(st.integers(0, 20), st.sampled_from(["set", "drop", "twice", "char"]), words)


@fuzz
@given(
    interleave=st.sampled_from(["bsq", "bil", "bip"]),
    changes=st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(["set", "drop", "twice", "char"]), words), max_size=2
    ),
    cut=st.one_of(st.none(), st.integers(0, 700)),
    grow=st.sampled_from([0, 0, 0, -1, -40, 1, 40]),
)
def test_envi_headers(tmp_path: Path, interleave: str, changes: Any, cut: int | None, grow: int) -> None:
    path = write_envi(
        tmp_path / "c.raw", CUBE, interleave=interleave, map_info=map_info(), bbl="{1,1,0,1}", fwhm="{5,5,6,6}",
        data_ignore_value="-99", reflectance_scale_factor="10000",
    )  # fmt: skip
    header = path.with_suffix(".hdr")
    lines = header.read_text(encoding="utf-8").splitlines()
    for at, how, word in changes:
        line = at % len(lines)
        key = lines[line].split("=")[0]
        other = {"set": f"{key}= {word}", "drop": "", "twice": f"{lines[line]}\n{key}= {word}"}
        lines[line] = other.get(how, lines[line].replace(lines[line][at % max(len(lines[line]), 1) :][:1], word[:1]))
    header.write_text("\n".join(lines)[:cut], encoding="utf-8")
    content = path.read_bytes()
    path.write_bytes(content[:grow] if grow < 0 else content + b"\0" * grow)
    values = values_of(header)
    if values is None:
        return
    try:
        by_spy = np.asarray(spy.open(str(header), str(path)).open_memmap(interleave="bip")).transpose(2, 0, 1)
    except (spy.EnviException, ValueError, TypeError, KeyError, OSError, IndexError, Warning):
        return  # SPy refuses headers that are silent on byte order or hold odd text
    np.testing.assert_array_equal(values, by_spy[:, :64, :64])


def damaged(content: bytes, spots: list[tuple[float, bytes]], cut: float) -> bytes:
    """Bytes written over at shares of the length, and the rest cut off."""
    found = bytearray(content)
    for share, piece in spots:
        at = int(share * len(found))
        found[at : at + len(piece)] = piece[: len(found) - at]
    return bytes(found[: max(int(cut * len(found)), 1)])


share = st.floats(0.0, 1.0, exclude_max=True)
spots = st.lists(st.tuples(share, st.one_of(st.binary(min_size=1, max_size=4), st.just(b"\xff" * 8))), max_size=3)
whole_or_cut = st.one_of(st.just(1.0), share)


def write_matlab(path: Path, *, compressed: bool) -> None:
    scipy.io.savemat(path, {"cube": CUBE, "note": "text"}, do_compression=compressed, appendmat=False)


WRITERS: dict[str, Any] = {
    "tiff": lambda path: write_tiff(path, CUBE, [{"wavelength": str(nm), "wavelength_units": "nm"} for nm in NM]),
    "pages": lambda path: write_pages(path, list(CUBE.astype(np.uint16))),
    "matlab": lambda path: write_matlab(path, compressed=False),
    "matlab compressed": lambda path: write_matlab(path, compressed=True),
    "neon": write_neon,
    "prisma": write_prisma,
    "netcdf": lambda path: to_netcdf(dataset(), path),
    "matlab 7.3": lambda path: write_matlab73(path, cube=CUBE),
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
@fuzz
@given(spots=spots, cut=whole_or_cut)
def test_damaged_bytes(tmp_path: Path, kind: str, spots: Any, cut: float) -> None:
    path = tmp_path / "whole"
    if not path.exists():
        WRITERS[kind](path)
    (tmp_path / "damaged").write_bytes(damaged(path.read_bytes(), spots, cut))
    values_of(tmp_path / "damaged")


@pytest.mark.parametrize("kind", sorted(WRITERS))
@fuzz
@given(cut=share)
def test_a_cut_file_is_refused_or_whole(tmp_path: Path, kind: str, cut: float) -> None:
    path = tmp_path / "whole"
    if not path.exists():
        WRITERS[kind](path)
    (tmp_path / "cut").write_bytes(damaged(path.read_bytes(), [], cut))
    values = values_of(tmp_path / "cut")
    if values is not None:
        np.testing.assert_array_equal(values, open_raw(path).data.compute())


numbers = st.one_of(st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5), st.lists(st.floats(), max_size=3))


@fuzz
@given(key=st.integers(0, 30), value=numbers, shape=st.lists(st.integers(0, 2**15), min_size=1, max_size=4))
def test_neon_objects_of_other_kinds(tmp_path: Path, key: int, value: Any, shape: list[int]) -> None:
    path = write_neon(tmp_path / "neon.h5")
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = sorted(names)[key % len(names)]
        attrs = dict(file[name].attrs)
        if key % 3 == 0 and attrs:
            file[name].attrs[sorted(attrs)[key % len(attrs)]] = value
        else:
            del file[name]
            if key % 3 == 1:
                file[name] = value
            else:
                chunks = tuple(min(length, 64) for length in shape) if min(shape) else None
                file.create_dataset(name, shape, "i2", chunks=chunks)
    values_of(path)


@fuzz
@given(key=st.integers(0, 60), value=numbers)
def test_zarr_metadata(tmp_path: Path, key: int, value: Any) -> None:
    path = tmp_path / "cube.zarr"
    if not path.exists():
        to_zarr(dataset(), path)
    part = sorted(path.rglob("zarr.json"))[key % 6 if key % 2 else 3]
    original = part.read_text()
    content = json.loads(original)
    target = content["attributes"] if key % 3 == 0 and content.get("attributes") else content
    target[sorted(target)[key % len(target)]] = value
    part.write_text(json.dumps(content))
    try:
        values_of(path)
    finally:
        part.write_text(original)
