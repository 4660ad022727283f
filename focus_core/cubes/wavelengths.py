"""From the band centres that a file or a campaign names to sorted wavelengths in nm, with the decision on record.

Knows units and orders; reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.config import LinearWavelengths
from focus_core.cubes.readers import OpenedCube
from focus_core.errors import CubeError

LEAST_BANDS = 3
_OPTICAL_NM = (200.0, 20_000.0)
_AGREE_NM = 1.0
"""Band centres in a campaign file may be rounded by this much, nm."""
_FAR = 30.0
"""Widths so many times narrower or wider than the distance of bands are in another unit, which is 1000 times off."""
_UNITS_NM = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(
        ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1e3
    ),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e9),
}
_SILENT = {"", "unknown", "none", "n/a"}


@dataclass(frozen=True)
class Wavelengths:
    """Bands in order of wavelength."""

    nm: npt.NDArray[np.float64]
    """Band centres ``(band,)``, nm, strictly increasing."""
    fwhm_nm: npt.NDArray[np.float64]
    """Full width at half maximum ``(band,)``, nm; NaN where the file names none."""
    order: npt.NDArray[np.int64]
    """Position of each band in the file ``(band,)``."""
    decision: str
    """Where the numbers come from and how their unit was decided."""

    @property
    def sorted_in_file(self) -> bool:
        """Whether the file's own order is that of wavelength."""
        return bool((np.diff(self.order) > 0).all())


def decide_wavelengths(cube: OpenedCube, named: list[float] | LinearWavelengths | None) -> Wavelengths:
    """Decide the wavelengths of an opened cube.

    The file's own unit comes first; where it names none, the magnitude decides. A unit that puts the bands outside
    the optical range (200 to 20000 nm) contradicts its numbers and is refused: which of the two is wrong, nobody can
    tell.

    Parameters
    ----------
    cube
        An opened cube, its band centres as the file writes them.
    named
        Band centres of the campaign file, nm; needed only where the file has none.

    Raises
    ------
    CubeError
        If neither names wavelengths, they contradict each other or their unit, or the numbers are missing, repeated
        or too few.
    """
    if cube.wavelength is None:
        if named is None:
            raise CubeError(
                f"{cube.path}: names no wavelengths; give 'wavelengths' of its {cube.bands} bands in nm "
                "in the campaign file"
            )
        nm, decision = _from_campaign(cube, named), "nm in the campaign file"
        fwhm = np.full(cube.bands, np.nan)
    else:
        factor, decided = _factor(cube)
        nm = cube.wavelength * factor
        fwhm = np.full(cube.bands, np.nan) if cube.fwhm is None else cube.fwhm * factor
        fwhm = np.where(fwhm > 0.0, fwhm, np.nan)
        _refuse_other_unit(cube, nm, fwhm)
        decision = f"{cube.wavelength_source}, {decided}"
        if named is not None:
            _refuse_contradiction(cube, nm, _from_campaign(cube, named))
    _refuse_unusable(cube, nm)
    order = np.argsort(nm, kind="stable").astype(np.int64)
    return Wavelengths(nm=nm[order], fwhm_nm=fwhm[order], order=order, decision=decision)


def _from_campaign(cube: OpenedCube, named: list[float] | LinearWavelengths) -> npt.NDArray[np.float64]:
    if isinstance(named, LinearWavelengths):
        return np.linspace(named.first_nm, named.last_nm, cube.bands)
    if len(named) != cube.bands:
        raise CubeError(f"{cube.path}: {cube.bands} bands, but the campaign file names {len(named)} wavelengths")
    return np.array(named, dtype=np.float64)


def _factor(cube: OpenedCube) -> tuple[float, str]:
    """Return the factor to nm and how it was decided."""
    values = np.asarray(cube.wavelength)
    declared = (cube.wavelength_units or "").strip()
    found = f"{values.min():g} to {values.max():g}"
    if declared.lower() in _SILENT:
        for unit in ("nm", "µm"):
            if _optical(values * _UNITS_NM[unit]):
                return _UNITS_NM[unit], f"no unit; {found} taken as {unit} by magnitude"
        raise CubeError(f"{cube.path}: wavelengths {found} without a unit are neither nm nor µm; correct the file")
    if declared.lower() not in _UNITS_NM:
        raise CubeError(f"{cube.path}: wavelength unit '{declared}' is not known; write nm or µm")
    factor = _UNITS_NM[declared.lower()]
    if not _optical(values * factor):
        raise CubeError(
            f"{cube.path}: wavelengths {found} declared as {declared} lie outside {_OPTICAL_NM[0]:g} to "
            f"{_OPTICAL_NM[1]:g} nm; correct the unit in the file"
        )
    return factor, f"declared as {declared}"


def _optical(nm: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(nm).all() and (nm >= _OPTICAL_NM[0]).all() and (nm <= _OPTICAL_NM[1]).all())


def _refuse_other_unit(cube: OpenedCube, nm: npt.NDArray[np.float64], fwhm: npt.NDArray[np.float64]) -> None:
    """Widths share the unit of the centres; some writers give them in another one."""
    known = fwhm[np.isfinite(fwhm)]
    spacing = float(np.median(np.diff(np.sort(nm)))) if cube.bands > 1 else 0.0
    if len(known) and spacing > 0.0 and not spacing / _FAR < float(np.median(known)) < spacing * _FAR:
        raise CubeError(
            f"{cube.path}: 'fwhm' of about {np.median(known):g} nm does not fit bands {spacing:g} nm apart; "
            "is it in another unit than the wavelengths? correct the file"
        )


def _refuse_contradiction(cube: OpenedCube, nm: npt.NDArray[np.float64], named: npt.NDArray[np.float64]) -> None:
    apart = np.abs(nm - named)
    if apart.max() > _AGREE_NM:
        band = int(apart.argmax())
        raise CubeError(
            f"{cube.path}: band {band + 1} lies at {nm[band]:g} nm, but the campaign file says {named[band]:g} nm; "
            "leave 'wavelengths' out, or correct the file"
        )


def _refuse_unusable(cube: OpenedCube, nm: npt.NDArray[np.float64]) -> None:
    if cube.bands < LEAST_BANDS:
        raise CubeError(f"{cube.path}: {cube.bands} band(s); a hyperspectral cube has at least {LEAST_BANDS}")
    if not _optical(nm):
        raise CubeError(f"{cube.path}: wavelengths must lie in {_OPTICAL_NM[0]:g} to {_OPTICAL_NM[1]:g} nm")
    values, counts = np.unique(nm, return_counts=True)
    if (counts > 1).any():
        raise CubeError(
            f"{cube.path}: wavelengths {values[counts > 1][:5].tolist()} nm stand more than once; correct them"
        )
