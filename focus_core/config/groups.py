"""Wavelength groups: contiguous ranges in nm, never band numbers.

Knows which band belongs to which group; does not know what a cube or a model is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from focus_core.errors import SettingsError

# The ranges that agronomists name; the water-vapour windows at 1350-1450 and 1800-1950 nm are left out.
AGRONOMIC_NM: Mapping[str, tuple[float, float]] = {
    "blue": (400.0, 500.0),
    "green": (500.0, 600.0),
    "red": (600.0, 680.0),
    "red_edge": (680.0, 750.0),
    "nir": (750.0, 1350.0),
    "swir_1": (1450.0, 1800.0),
    "swir_2": (1950.0, 2500.0),
}

OUTSIDE = -1


@dataclass(frozen=True, kw_only=True)
class WavelengthGroup:
    """One contiguous range ``[lo_nm, hi_nm)`` of wavelengths."""

    name: str
    lo_nm: float
    hi_nm: float

    def __post_init__(self) -> None:
        """Refuse an empty or reversed range."""
        if not 0.0 < self.lo_nm < self.hi_nm:
            raise SettingsError(
                f"wavelength group '{self.name}' runs from {self.lo_nm} to {self.hi_nm} nm; give 0 < low < high in nm"
            )


@dataclass(frozen=True)
class WavelengthGroups:
    """Groups in order of wavelength that do not overlap, so that a band belongs to at most one."""

    groups: tuple[WavelengthGroup, ...]

    def __post_init__(self) -> None:
        """Refuse none at all, a name twice, and overlap."""
        if not self.groups:
            raise SettingsError("no wavelength group is given; name at least one range in nm")
        names = self.names
        if len(set(names)) != len(names):
            raise SettingsError(f"wavelength groups repeat a name: {names}; give each its own")
        for left, right in zip(self.groups, self.groups[1:], strict=False):
            if right.lo_nm < left.hi_nm:
                raise SettingsError(
                    f"wavelength groups '{left.name}' ({left.lo_nm}-{left.hi_nm} nm) and '{right.name}' "
                    f"({right.lo_nm}-{right.hi_nm} nm) overlap; a band may belong to one group only"
                )

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each group."""
        return tuple(group.name for group in self.groups)

    @property
    def lo_nm(self) -> npt.NDArray[np.float64]:
        """Lower edge ``(group,)`` in nm, inclusive."""
        return np.array([group.lo_nm for group in self.groups], dtype=np.float64)

    @property
    def hi_nm(self) -> npt.NDArray[np.float64]:
        """Upper edge ``(group,)`` in nm, exclusive."""
        return np.array([group.hi_nm for group in self.groups], dtype=np.float64)

    def of_bands(self, wavelength: npt.NDArray[np.float64], good_band: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the group index of each band; ``OUTSIDE`` (-1) where it has none or is bad.

        Parameters
        ----------
        wavelength
            ``(band,)``, nm.
        good_band
            ``(band,)``; a bad band is outside every group.
        """
        index = np.searchsorted(self.lo_nm, wavelength, side="right") - 1
        inside = (index >= 0) & good_band
        inside &= wavelength < self.hi_nm[np.maximum(index, 0)]
        return np.where(inside, index, OUTSIDE).astype(np.int64)

    def seen(
        self,
        wavelength: npt.NDArray[np.float64],
        good_band: npt.NDArray[np.bool_],
        *,
        bands: int = 1,
    ) -> WavelengthGroups:
        """Return the groups that hold at least ``bands`` good bands of a sensor."""
        counts = np.bincount(self.of_bands(wavelength, good_band) + 1, minlength=len(self) + 1)[1:]
        kept = tuple(group for group, count in zip(self.groups, counts, strict=True) if count >= bands)
        if not kept:
            raise SettingsError(
                f"no wavelength group holds {bands} good band(s) between {wavelength.min():.1f} and "
                f"{wavelength.max():.1f} nm; choose groups that the sensor sees"
            )
        return WavelengthGroups(kept)


def parse_groups(spec: str | Mapping[str, tuple[float, float]]) -> WavelengthGroups:
    """Read ``agronomic``, ``uniform:<nm>`` or a mapping of names to ``[low, high]`` in nm.

    ``uniform:<nm>`` tiles 400-2500 nm with groups of that width.

    Raises
    ------
    SettingsError
        If the text is neither, or a range is empty, reversed or overlaps another.
    """
    if isinstance(spec, str):
        if spec == "agronomic":
            ranges = dict(AGRONOMIC_NM)
        elif match := re.fullmatch(r"uniform:(\d+(?:\.\d+)?)", spec):
            ranges = _uniform(float(match.group(1)))
        else:
            raise SettingsError(
                f"wavelength groups '{spec}' are not known; write 'agronomic', 'uniform:<nm>' "
                "or a mapping of names to [low, high] in nm"
            )
    else:
        ranges = dict(spec)
    groups = [WavelengthGroup(name=name, lo_nm=lo, hi_nm=hi) for name, (lo, hi) in ranges.items()]
    return WavelengthGroups(tuple(sorted(groups, key=lambda group: group.lo_nm)))


def _uniform(width_nm: float) -> dict[str, tuple[float, float]]:
    if not 1.0 <= width_nm <= 2100.0:
        raise SettingsError(f"uniform groups of {width_nm} nm: the width must lie in 1-2100 nm")
    edges = np.arange(400.0, 2500.0, width_nm)
    return {f"{lo:.0f}-{lo + width_nm:.0f}": (float(lo), float(lo + width_nm)) for lo in edges}
