"""Crop canopies: reflectance from leaf and canopy traits, by PROSPECT-D and 4SAIL at nodes and interpolation between.

Knows traits and spectra at 1 nm; knows neither the field nor the sensor.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from focus_core.errors import SettingsError

Float = npt.NDArray[np.float32]

NM = np.arange(400.0, 2501.0)
"""Wavelengths of every simulated spectrum, nm."""

# Nodes are denser where reflectance bends most; the last axis runs from thin to thick leaves.
NODES: Mapping[str, tuple[float, ...]] = {
    "chlorophyll": (6.0, 12.0, 24.0, 45.0, 80.0),  # µg/cm²
    "water": (0.003, 0.006, 0.011, 0.018, 0.03),  # cm
    "brown": (0.0, 0.15, 0.4, 1.0),  # unitless
    "lai": (0.4, 1.2, 2.4, 4.0, 7.0),  # m²/m²
    "thickness": (0.0, 1.0),  # unitless; moves leaf layers and dry matter together
}
TRAITS = tuple(NODES)
_LOGARITHMIC = ("chlorophyll", "water", "lai")


@contextmanager
def _prosail() -> Iterator[Any]:
    """Yield the optional package; its warnings are not ours to fix, so they stay inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import prosail
        except ImportError as error:
            raise SettingsError(
                "`simulate` needs the package 'prosail', which is not installed; "
                "install the extra: pip install 'focus-core[demo]'"
            ) from error
        yield prosail


@cache
def soil_spectra() -> tuple[Float, Float]:
    """Return the reflectance of dry and of wet soil, each ``(nm,)`` on `NM`, unitless."""
    with _prosail() as prosail:
        soil = prosail.spectral_lib.soil
        return np.asarray(soil.rsoil1, np.float32), np.asarray(soil.rsoil2, np.float32)


@cache
def canopy_spectra(sun_zenith_deg: float) -> Float:
    """Return the canopy's reflectance at every node of `NODES`.

    Seen from nadir over half-dry soil, with ellipsoidal-like leaf angles (lidfa -0.35, lidfb -0.15) and a
    hot spot of 0.01. Carotenoids follow chlorophyll, as they do in leaves that lack nitrogen.

    Parameters
    ----------
    sun_zenith_deg
        Angle of the sun from the vertical, degrees.

    Returns
    -------
    npt.NDArray[np.float32]
        ``(node, nm)``, the last axis of `NODES` fastest, unitless; read-only.

    Raises
    ------
    SettingsError
        If the extra ``demo`` is not installed.

    References
    ----------
    Féret et al. 2017, PROSPECT-D, Remote Sensing of Environment 193; Verhoef et al. 2007, 4SAIL, IEEE TGRS 45.
    """
    table = []
    with _prosail() as prosail:
        for chlorophyll, water, brown, lai, thickness in itertools.product(*NODES.values()):
            table.append(
                prosail.run_prosail(
                    1.3 + 0.6 * thickness,
                    chlorophyll,
                    2.0 + 0.17 * chlorophyll,
                    brown,
                    water,
                    0.006 + 0.005 * thickness,
                    lai,
                    -0.35,
                    0.01,
                    sun_zenith_deg,
                    0.0,
                    0.0,
                    ant=1.0,
                    prospect_version="D",
                    typelidf=1,
                    lidfb=-0.15,
                    rsoil=1.0,
                    psoil=0.5,
                )
            )
    spectra = np.asarray(table, np.float32)
    spectra.flags.writeable = False
    return spectra


@dataclass(frozen=True)
class CanopyTable:
    """Canopy reflectance at every node of `NODES`, in the bands of a sensor."""

    nodes: Float
    """``(node, band)``, unitless."""

    def reflectance(self, traits: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Float:
        """Interpolate linearly between the nodes; traits outside them are moved to the nearest.

        Parameters
        ----------
        traits
            An array ``(pixel,)`` for each of `TRAITS`, in the units of `NODES`.

        Returns
        -------
        npt.NDArray[np.float32]
            ``(pixel, band)``, unitless.
        """
        weights = _corner_weights(traits)
        return np.asarray(weights @ self.nodes, np.float32)


def _corner_weights(traits: Mapping[str, npt.NDArray[np.floating[Any]]]) -> sparse.csr_array:
    """Weights ``(pixel, node)`` of the 2⁵ nodes around each pixel's traits."""
    lower, fraction = [], []
    for name, nodes in NODES.items():
        known, wanted = np.asarray(nodes), np.clip(traits[name], nodes[0], nodes[-1])
        if name in _LOGARITHMIC:
            known, wanted = np.log(known), np.log(wanted)
        place = np.interp(wanted, known, np.arange(len(nodes)))
        cell = np.minimum(place.astype(np.int64), len(nodes) - 2)
        lower.append(cell)
        fraction.append(place - cell)
    shape = tuple(len(nodes) for nodes in NODES.values())
    corners = list(itertools.product((0, 1), repeat=len(shape)))
    count = len(lower[0])
    column = np.empty((count, len(corners)), np.int32)
    weight = np.ones((count, len(corners)), np.float32)
    for number, corner in enumerate(corners):
        column[:, number] = np.ravel_multi_index([cell + step for cell, step in zip(lower, corner, strict=True)], shape)
        for part, step in zip(fraction, corner, strict=True):
            weight[:, number] *= part if step else 1.0 - part
    starts = np.arange(0, count * len(corners) + 1, len(corners))
    return sparse.csr_array((weight.ravel(), column.ravel(), starts), shape=(count, int(np.prod(shape))))
