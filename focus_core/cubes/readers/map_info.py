"""ENVI's ``map info``: where the pixels lie; NEON writes the same text into its HDF5 files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from focus_core.errors import CubeError

Refuse = Callable[[str, str], CubeError]
"""Builds the error from a key and a message."""


def read_map_info(info: list[str], wkt: str, refuse: Refuse) -> tuple[Any, Any]:
    """Return ``rasterio.Affine`` and ``rasterio.crs.CRS``; none where the text names no place or no CRS.

    Parameters
    ----------
    info
        Its parts: projection, reference column and row (the first pixel's corner is 1, 1), easting, northing, pixel
        width and height, then zone, hemisphere, datum and ``rotation=``.
    wkt
        The CRS as text, which counts for more than the projection's name; empty where there is none.
    refuse
        Builds the error.

    Raises
    ------
    CubeError
        If the numbers are none, the image is rotated or the text is no CRS.
    """
    if len(info) < 7 or info[0].lower().startswith("arbitrary"):
        return None, None
    try:
        column, row, x, y, width, height = (float(part) for part in info[1:7])
        turned = float(next((part.split("=", 1)[1] for part in info if part.lower().startswith("rotation")), "") or 0)
    except (ValueError, IndexError) as error:
        raise refuse("map info", f"expected numbers after '{info[0]}': {error}; correct them") from error
    if turned != 0.0:
        raise refuse("map info", f"rotation={turned:g}: rotated images are not read; resample north-up first")
    if not np.isfinite([column, row, x, y, width, height]).all() or width <= 0.0 or height <= 0.0:
        raise refuse("map info", f"pixel sizes must be positive and positions finite, found {info[1:7]}")
    transform = Affine(width, 0.0, x - (column - 1.0) * width, 0.0, -height, y + (row - 1.0) * height)
    return transform, _crs(info, wkt, refuse)


def _crs(info: list[str], wkt: str, refuse: Refuse) -> Any:
    try:
        if wkt:
            return CRS.from_wkt(wkt)
    except CRSError as error:
        raise refuse("coordinate system string", f"is not valid WKT: {error}") from error
    wgs84 = any(part.replace(" ", "").upper() in {"WGS-84", "WGS84"} for part in info)
    if info[0].upper() == "UTM" and len(info) >= 9 and info[7].isdigit() and 1 <= int(info[7]) <= 60:
        feet = next((part for part in info[9:] if part.lower().replace(" ", "") in {"units=feet", "units=ft"}), None)
        if feet:
            raise refuse("map info", f"'{feet}', but UTM counts metres; correct one of them")
        if wgs84:
            return CRS.from_epsg((32700 if info[8].lower().startswith("s") else 32600) + int(info[7]))
        if "North America 1983" in info and int(info[7]) <= 23:
            return CRS.from_epsg(26900 + int(info[7]))
    return CRS.from_epsg(4326) if wgs84 and info[0].lower().startswith("geographic") else None
