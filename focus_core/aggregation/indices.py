"""Vegetation indices of plots from their mean spectra, so that a curve can be read beside what is used today.

Knows published formulas and wavelengths; knows neither pixels nor models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import spyndex
import xarray as xr

from focus_core.errors import SettingsError


class Index(NamedTuple):
    """A formula of `spyndex` and the wavelengths at which its source evaluates it."""

    formula: str
    """Name in spyndex."""
    nm: Mapping[str, float]
    """Wavelength of each of its bands, nm."""
    source: str


INDICES = {
    "NDVI": Index("NDVI", {"N": 800.0, "R": 670.0}, "Rouse et al. 1974, NASA SP-351"),
    "NDRE": Index("NDREI", {"N": 790.0, "RE1": 720.0}, "Gitelson & Merzlyak 1994, 10.1016/1011-1344(93)06963-4"),
    "CIre": Index("CIRE", {"N": 790.0, "RE1": 715.0}, "Gitelson et al. 2003, 10.1078/0176-1617-00887"),
    "MCARI2": Index("MCARI2", {"N": 800.0, "R": 670.0, "G": 550.0}, "Haboudane et al. 2004, 10.1016/j.rse.2003.12.013"),
    # spyndex knows no index of these two wavelengths; both are plain normalised differences, as NDVI and NDMI are.
    "PRI": Index("NDVI", {"N": 531.0, "R": 570.0}, "Gamon, Peñuelas & Field 1992, 10.1016/0034-4257(92)90059-S"),
    "NDWI": Index("NDMI", {"N": 860.0, "S1": 1240.0}, "Gao 1996, 10.1016/S0034-4257(96)00067-3"),
    "NDII": Index("NDII", {"N": 819.0, "S1": 1649.0}, "Hardisky, Klemas & Smart 1983, PE&RS 49"),
}
"""Indices by name. NDWI is Gao's, of water in leaves, not McFeeters', of open water."""


def vegetation_indices(spectra: xr.Dataset, *, names: Sequence[str], tolerance_nm: float) -> xr.Dataset:
    """Return the indices of each plot, each from the nearest good bands to the wavelengths of its source.

    Parameters
    ----------
    spectra
        As `plot_spectra` returns them, computed.
    names
        Of `INDICES`.
    tolerance_nm
        Largest distance of a band from the wavelength that it stands for, nm.

    Returns
    -------
    xarray.Dataset
        ``vegetation_index (plot, index)``, float64, unitless, NaN where it cannot be formed; ``index_bands (index)``,
        the bands used or the reason why there is none.

    Raises
    ------
    SettingsError
        If an index is unknown.
    """
    unknown = [name for name in names if name not in INDICES]
    if unknown:
        raise SettingsError(f"there are no indices {unknown}; known: {', '.join(INDICES)}")
    values, told = [], []
    for name in names:
        value, words = _one(INDICES[name], spectra, tolerance_nm)
        values.append(value)
        told.append(words)
    text = np.dtypes.StringDType()
    return xr.Dataset(
        {
            "vegetation_index": (("plot", "index"), np.stack(values, axis=1)),
            "index_bands": ("index", np.array(told, dtype=text)),
        },
        coords={"plot": spectra["plot"], "index": np.array(list(names), dtype=text)},
    )


def _one(index: Index, spectra: xr.Dataset, tolerance_nm: float) -> tuple[npt.NDArray[np.float64], str]:
    nothing = np.full(spectra.sizes["plot"], np.nan)
    if spectra.attrs["quantity"] != "reflectance":
        return nothing, f"needs reflectance, the cube holds {spectra.attrs['quantity']}"
    nm = spectra["wavelength"].to_numpy()
    apart = np.where(spectra["good_band"].to_numpy(), 0.0, np.inf)
    chosen = {}
    for letter, wanted in index.nm.items():
        band = int((np.abs(nm - wanted) + apart).argmin())
        if abs(nm[band] - wanted) + apart[band] > tolerance_nm:
            return nothing, f"no good band within {tolerance_nm:g} nm of {wanted:g} nm"
        chosen[letter] = band
    mean = spectra["mean"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        found = spyndex.computeIndex(index.formula, {letter: mean[:, band] for letter, band in chosen.items()})
    words = ", ".join(f"{nm[band]:.1f} nm for {index.nm[letter]:g}" for letter, band in chosen.items())
    return np.where(np.isfinite(found), found, np.nan), words
