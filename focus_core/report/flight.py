"""One flight out of ``importance.zarr``, in memory, by plot and wavelength group.

Knows the store's layout; does not know how anything is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from focus_core.cubes.per_group import per_group
from focus_core.errors import StoreError

UNKNOWN = ""
"""True class of a plot whose label is not known."""


@dataclass(frozen=True, kw_only=True)
class Flight:
    """The plots that one flight explains; arrays are float64 unless they say otherwise."""

    campaign: str
    date: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    lo_nm: npt.NDArray[np.float64]
    """``(group,)``."""
    hi_nm: npt.NDArray[np.float64]
    """``(group,)``."""
    plots: tuple[str, ...]
    """Ids, in the order of every array."""
    absent: tuple[str, ...]
    """Plots that the store knows and this flight does not explain."""
    per_nm: npt.NDArray[np.float64]
    """``(plot, cls, group)``, importance per nm, signed."""
    probability: npt.NDArray[np.float64]
    """``(plot, cls)``."""
    sink_share: npt.NDArray[np.float64]
    """``(plot, cls, group)``."""
    area: npt.NDArray[np.float64]
    """``(plot,)``, square metres, or pixels where there is no CRS."""
    n_eff: npt.NDArray[np.float64]
    """``(plot,)``."""
    label: tuple[str, ...]
    """True class, or `UNKNOWN`."""
    fold: tuple[str, ...]
    geometry: tuple[str, ...]
    """Polygons as WKT."""
    indices: dict[str, npt.NDArray[np.float64]]
    """Vegetation indices ``(plot,)`` by name, unitless; NaN where the sensor's bands do not allow one."""

    @property
    def importance(self) -> npt.NDArray[np.float64]:
        """Importance of each wavelength group ``(plot, cls, group)``, logit units."""
        return self.per_nm * (self.hi_nm - self.lo_nm)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class ``(plot,)``."""
        return np.asarray(self.probability.argmax(axis=1), dtype=np.int64)

    @property
    def labelled(self) -> bool:
        """Whether any plot's true class is known."""
        return any(self.label)

    @property
    def grouping(self) -> tuple[str, ...]:
        """Class under which each plot is averaged: the true one where labels are known at all, else the predicted."""
        return self.label if self.labelled else tuple(self.classes[index] for index in self.predicted)


def read_flight(importance: xr.Dataset, campaign: str, where: str) -> Flight:
    """Load one flight's explained plots.

    Raises
    ------
    StoreError
        If the store does not hold the campaign, or none of its plots is explained.
    """
    known = [str(name) for name in importance["campaign"].to_numpy()]
    if campaign not in known:
        raise StoreError(f"'{where}' holds the campaigns {known}, not '{campaign}'; run aggregate for it first")
    whole = importance.isel(campaign=known.index(campaign))
    present = whole["present"].to_numpy()
    if not present.any():
        raise StoreError(f"'{where}': no plot of '{campaign}' is explained; check its plots and run tile again")
    data = whole.isel(plot=present)
    classes = _texts(data["cls"])
    return Flight(
        campaign=campaign,
        date=str(np.datetime_as_string(data["date"].to_numpy(), unit="D")),
        classes=classes,
        groups=_texts(data["group"]),
        lo_nm=data["group_lo_nm"].to_numpy(),
        hi_nm=data["group_hi_nm"].to_numpy(),
        plots=_texts(data["plot"]),
        absent=_texts(whole["plot"].isel(plot=~present)),
        per_nm=per_group(data).transpose("plot", "cls", "group").to_numpy(),
        probability=data["probability"].to_numpy(),
        sink_share=data["sink_share"].to_numpy(),
        area=data["area_m2"].to_numpy(),
        n_eff=data["n_eff"].to_numpy(),
        label=tuple(classes[index] if index >= 0 else UNKNOWN for index in data["label"].to_numpy()),
        fold=_texts(data["fold"]),
        geometry=_texts(data["geometry"]),
        indices=_indices(data),
    )


def _indices(data: xr.Dataset) -> dict[str, npt.NDArray[np.float64]]:
    """Return the indices that the flight has for any plot."""
    if "vegetation_index" not in data:
        return {}
    values = data["vegetation_index"].transpose("index", "plot").to_numpy()
    return {name: own for name, own in zip(_texts(data["index"]), values, strict=True) if np.isfinite(own).any()}


def _texts(values: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(value) for value in values.to_numpy())
