"""Which format a file has, by its first bytes and never by its name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from focus_core.errors import CubeError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZARR = ("zarr.json", ".zgroup")


class Format(Enum):
    """Formats that are told apart."""

    TIFF = "TIFF"
    MATLAB = "MATLAB"
    MATLAB_73 = "MATLAB 7.3"
    HDF5 = "HDF5"
    ZARR = "Zarr"
    ENVI_HEADER = "ENVI header"
    RAW = "raw numbers"


def sniff(path: Path) -> Format:
    """Return the format of a file or folder.

    Raises
    ------
    CubeError
        If it is a known format that is not read here, or a folder that is no Zarr store.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in _ZARR):
            return Format.ZARR
        raise CubeError(f"{path}: a folder, but no Zarr store ({' or '.join(_ZARR)} is missing); name a file in it")
    with path.open("rb") as file:
        start = file.read(520)
    if start.startswith(_TIFF):
        return Format.TIFF
    if start[512:].startswith(_HDF5) and start.startswith(b"MATLAB 7.3 MAT-file"):
        return Format.MATLAB_73
    if start.startswith(_HDF5) or start[512:].startswith(_HDF5):
        return Format.HDF5
    if start.startswith(b"MATLAB 5.0 MAT-file"):
        return Format.MATLAB
    if start.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        raise CubeError(f"{path}: NetCDF of the classic format is not read; convert it with 'nccopy -k nc4'")
    if start.upper().startswith((b"BYTEORDER", b"LAYOUT", b"NROWS")):
        raise CubeError(f"{path}: an ESRI header (first key {_first_word(start)}) is not read; export the cube as ENVI")
    if start.lstrip(b"\xef\xbb\xbf").startswith(b"ENVI") and b"\n" in start[:16] + b"\n" and start[4:5] in b"\r\n ":
        return Format.ENVI_HEADER
    return Format.RAW


def _first_word(start: bytes) -> str:
    return start.split()[0][:20].decode("ascii", errors="replace")
