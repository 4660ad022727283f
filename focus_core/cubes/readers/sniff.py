"""Which format a file has, by its first bytes and never by its name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from focus_core.errors import CubeError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Format(Enum):
    """Formats that are told apart."""

    GEOTIFF = "GeoTIFF"
    MATLAB = "MATLAB"
    ENVI_HEADER = "ENVI header"
    RAW = "raw numbers"


def sniff(path: Path) -> Format:
    """Return the format of a file.

    Raises
    ------
    CubeError
        If it is a known format that is not read here.
    """
    with path.open("rb") as file:
        start = file.read(520)
    if start.startswith(_TIFF):
        return Format.GEOTIFF
    if start.startswith(_HDF5) or start[512:].startswith(_HDF5):
        raise CubeError(
            f"{path}: HDF5 files (also MATLAB 7.3) are not read yet; export as ENVI or GeoTIFF, or save with '-v7'"
        )
    if start.startswith(b"MATLAB 5.0 MAT-file"):
        return Format.MATLAB
    if start.lstrip(b"\xef\xbb\xbf").startswith(b"ENVI") and b"\n" in start[:16] + b"\n" and start[4:5] in b"\r\n ":
        return Format.ENVI_HEADER
    return Format.RAW
