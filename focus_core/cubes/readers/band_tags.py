"""What the metadata of a TIFF say of its bands: tags of each band, ENVI's lists, or GDAL's ``IMAGERY`` domain.

Read one by one, because rioxarray keeps the tags of the first band only. Does not decide units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from focus_core.errors import CubeError

Tags = Mapping[str, str]


@dataclass(frozen=True)
class BandTags:
    """Centres, widths and bad-band list as the file writes them; none where it names none."""

    wavelength: npt.NDArray[np.float64] | None = None
    """``(band,)``."""
    units: str | None = None
    source: str = "none in the file"
    fwhm: npt.NDArray[np.float64] | None = None
    """``(band,)``, same unit as the centres."""
    good: npt.NDArray[np.bool_] | None = None
    """``(band,)``."""


def read_band_tags(path: Path, file: Any) -> BandTags:
    """Return what an open rasterio file says of its bands; where several places do, the first of those named above.

    Raises
    ------
    CubeError
        If a tag stands on some bands only, is no number, or bands name several units.
    """
    plain = [_lower(file.tags(band)) for band in file.indexes]
    envi = [_lower(file.tags(band, ns="ENVI")) for band in file.indexes]
    imagery = [_imagery(file.tags(band, ns="IMAGERY")) for band in file.indexes]
    listed = _listed(path, _lower(file.tags(ns="ENVI")), file.count)
    places = (
        ("band tag 'wavelength'", plain),
        ("'wavelength' of each band in the ENVI domain", envi),
        ("'wavelength' in the ENVI domain", listed),
        ("'CENTRAL_WAVELENGTH_UM' in the IMAGERY domain", imagery),
    )
    good = next((found for _, tags in places if (found := _numbers(path, tags, "bbl")) is not None), None)
    good_band = None if good is None else good > 0
    for source, tags in places:
        wavelength = _numbers(path, tags, "wavelength")
        if wavelength is not None:
            units = {tag["wavelength_units"] for tag in tags if "wavelength_units" in tag}
            if len(units) > 1:
                raise CubeError(f"{path}: bands name wavelengths in several units {sorted(units)}; use one")
            return BandTags(wavelength, next(iter(units), None), source, _numbers(path, tags, "fwhm"), good_band)
    return BandTags(good=good_band)


def _lower(tags: Tags) -> dict[str, str]:
    return {key.lower().replace(" ", "_"): value for key, value in tags.items()}


def _imagery(tags: Tags) -> dict[str, str]:
    names = {"CENTRAL_WAVELENGTH_UM": "wavelength", "FWHM_UM": "fwhm"}
    found = {names[key]: value for key, value in tags.items() if key in names}
    return {**found, "wavelength_units": "um"} if found else {}


def _listed(path: Path, tags: Tags, bands: int) -> list[dict[str, str]]:
    """Turn ENVI's lists ``{a, b}`` into tags of each band."""
    found: list[dict[str, str]] = [{} for _ in range(bands)]
    for key in ("wavelength", "fwhm", "bbl"):
        if key not in tags:
            continue
        parts = tags[key].strip("{} \n").split(",")
        if len(parts) != bands:
            raise CubeError(f"{path}: '{key}' in the ENVI domain holds {len(parts)} numbers for {bands} bands")
        for tag, part in zip(found, parts, strict=True):
            tag[key] = part.strip()
            if "wavelength_units" in tags:
                tag["wavelength_units"] = tags["wavelength_units"]
    return found


def _numbers(path: Path, tags: Sequence[Tags], key: str) -> npt.NDArray[np.float64] | None:
    found = [tag.get(key) for tag in tags]
    if all(text is None for text in found):
        return None
    missing = [band + 1 for band, text in enumerate(found) if text is None]
    if missing:
        raise CubeError(f"{path}: band tag '{key}' is missing on bands {missing[:8]}; it must stand on all or none")
    try:
        return np.array([float(str(text)) for text in found], dtype=np.float64)
    except ValueError as error:
        raise CubeError(f"{path}: band tag '{key}': {error}; correct it") from error
