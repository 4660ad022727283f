"""``dataset.focus``: curves, saliency and strongest groups of an explanation or of ``importance.zarr``."""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from focus_core.aggregation import change_between_flights, compare_treatments
from focus_core.aggregation.bands import per_nm
from focus_core.config.settings import Fold
from focus_core.errors import SettingsError, StoreError
from focus_core.report.style import colour

_MANY = 4
"""Campaigns from which on a title counts them."""


@xr.register_dataset_accessor("focus")  # type: ignore[no-untyped-call]
class FocusAccessor:
    """What an explained dataset says about wavelengths and places.

    Parameters
    ----------
    dataset
        Of `LoadedModel.explain`, or opened from ``explanation.zarr`` or ``importance.zarr``; ``isel`` and ``sel``
        choose the tiles or plots that count.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def curve(self, cls: str) -> xr.DataArray:
        """Return the spectral importance of a class, signed, in logit units per nm; NaN outside all groups.

        The mean over all tiles, weighted by coverage, or over all plots that are present.

        Parameters
        ----------
        cls
            Name of the class.

        Returns
        -------
        xarray.DataArray
            ``(band,)`` with the coordinate ``wavelength`` in nm; constant within a wavelength group.

        Raises
        ------
        SettingsError
            If there is no such class.
        StoreError
            If the dataset holds no importance, or its wavelength groups were sorted or some of them chosen.
        """
        chosen = self._of(cls)
        if "importance_per_nm" in chosen:
            over = [dim for dim in ("campaign", "plot") if dim in chosen["importance_per_nm"].dims]
            curve = chosen["importance_per_nm"].mean(over)
        else:
            self._refuse_moved_groups()
            curve = per_nm(self._by_group(cls), chosen["group_of_band"])
        found = curve.assign_coords(wavelength=chosen["wavelength"]).rename("importance_per_nm")
        return found.assign_attrs(long_name=f"importance of {cls}", units="logit/nm")

    def top_groups(self, cls: str, k: int = 5) -> pd.DataFrame:
        """Return the ``k`` wavelength groups of greatest importance, the greatest first.

        Parameters
        ----------
        cls
            Name of the class.
        k
            How many.

        Returns
        -------
        pandas.DataFrame
            ``lo_nm``, ``hi_nm`` and ``importance`` (logit units, signed) by group.

        Raises
        ------
        SettingsError
            If there is no such class.
        StoreError
            If the dataset holds no importance by group.
        """
        importance = self._by_group(cls)
        table = pd.DataFrame(
            {
                "lo_nm": importance["group_lo_nm"].to_numpy(),
                "hi_nm": importance["group_hi_nm"].to_numpy(),
                "importance": importance.to_numpy(),
            },
            index=pd.Index(importance["group"].to_numpy().astype(object).astype(str), name="group"),
        )
        return table.sort_values("importance", ascending=False).head(k)

    def compare(
        self, treatment: str, control: str, *, cls: str | None = None, fold: Fold | None = "test"
    ) -> pd.DataFrame:
        """Return which wavelength groups separate two treatments, with intervals and family-wise p-values.

        Plots are compared within their trial blocks, and treatments are exchanged within them; see
        `focus_core.aggregation.compare_treatments`, which this calls.

        Parameters
        ----------
        treatment, control
            Names of classes: what grows on the plots.
        cls
            Class whose curve is looked at; by default the treatment's own.
        fold
            Part of the split whose plots count; none takes all, which the model has partly been trained on.

        Returns
        -------
        pandas.DataFrame
            By ``group``, strongest evidence first: ``lo_nm``, ``hi_nm``, ``difference``, ``lo``, ``hi`` (logit units)
            and ``p_adjusted``, over all groups and classes.

        Raises
        ------
        SettingsError
            If there is no such class, or both are the same.
        StoreError
            If the dataset is not of ``importance.zarr``, or too few plots share a trial block.
        """
        if "plot" not in self._dataset.dims:
            raise StoreError("treatments are compared over plots; open importance.zarr")
        return compare_treatments(self._dataset, treatment, control, cls=cls, fold=fold)

    def change(
        self,
        cls: str,
        *,
        treatment: str | None = None,
        earlier: str | None = None,
        later: str | None = None,
        fold: Fold | None = "test",
    ) -> pd.DataFrame:
        """Return how the importance of each wavelength group changed between two flights, with intervals over plots.

        Plots are paired by their id; see `focus_core.aggregation.change_between_flights`, which this calls.

        Parameters
        ----------
        cls
            Class whose curve is looked at.
        treatment
            Class that grows on the plots that count; by default all plots.
        earlier, later
            Names of flights; by default the first and the last.
        fold
            Part of the split whose plots count; none takes all, also those that the model was trained on.

        Returns
        -------
        pandas.DataFrame
            By ``group``, in the order of wavelength: ``lo_nm``, ``hi_nm``, ``change``, ``lo``, ``hi`` (logit units).
            ``attrs`` names the flights, the number of ``plots``, and the plots that are ``missing`` in the later
            flight or ``new`` in it.

        Raises
        ------
        SettingsError
            If there is no such class, treatment or flight, or both flights are the same.
        StoreError
            If the dataset is not of ``importance.zarr`` with two flights or more, or no plot is in both.
        """
        if "plot" not in self._dataset.dims:
            raise StoreError("flights are compared over plots; open importance.zarr")
        return change_between_flights(self._dataset, cls, treatment=treatment, earlier=earlier, later=later, fold=fold)

    def plot_curve(self, *classes: str, ax: Axes | None = None) -> Axes:
        """Draw the curves of some classes, by default of all, as a staircase: nothing is known within a group.

        Parameters
        ----------
        *classes
            Names.
        ax
            Axes to draw on; new ones by default.

        Raises
        ------
        SettingsError
            If there is no such class.
        StoreError
            If the dataset holds no importance.
        """
        axes = plt.subplots(figsize=(8, 3.5), layout="constrained")[1] if ax is None else ax
        for name in classes or self._classes():
            curve = self.curve(name).sortby("wavelength")
            shade = colour(self._classes().index(name))
            axes.step(curve["wavelength"], curve, where="mid", color=shade, label=name)
        axes.axhline(0.0, color="0.6", linewidth=0.8)
        axes.set(xlabel="wavelength (nm)", ylabel="importance (logit/nm)", title=self._title())
        axes.legend(frameon=False)
        return axes

    def plot_saliency(self, cls: str, tile: int = 0, group: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw where in a tile the importance of a class lies.

        Parameters
        ----------
        cls
            Name of the class.
        tile
            Position along ``tile``; not looked at where the dataset is of one tile.
        group
            Name of one wavelength group; by default the sum over all.
        ax
            Axes to draw on; new ones by default.

        Raises
        ------
        SettingsError
            If there is no such class, tile or group.
        StoreError
            If the dataset holds no saliency.
        """
        if "saliency" not in self._dataset:
            raise StoreError("saliency is in an explanation, not in importance.zarr; open explanation.zarr")
        saliency = self._of(cls)["saliency"]
        place = f"tile {tile}"
        if "tile" not in saliency.dims:
            place = f"plot {saliency['plot'].item()}"
        elif 0 <= tile < saliency.sizes["tile"]:
            saliency = saliency.isel(tile=tile)
        else:
            raise SettingsError(f"there is no tile {tile}; the dataset holds 0 to {saliency.sizes['tile'] - 1}")
        values = saliency.sum("group") if group is None else saliency.isel(group=self._index("group", group))
        axes = plt.subplots(figsize=(4.5, 4), layout="constrained")[1] if ax is None else ax
        limit = float(np.abs(values).max()) or 1.0
        image = axes.imshow(values.to_numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit)
        axes.figure.colorbar(image, ax=axes, label="importance (logit units)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        where = "all groups" if group is None else group
        axes.set(xlabel="patch along x", ylabel="patch along y", title=f"{cls}, {where}, {place}\n{self._title()}")
        return axes

    def _by_group(self, cls: str) -> xr.DataArray:
        chosen = self._of(cls)
        if "importance" not in chosen or "group" not in chosen["importance"].dims:
            raise StoreError("importance by group is in an explanation; here it is spread over bands: use curve()")
        if "tile" not in chosen["importance"].dims:
            return chosen["importance"]
        return chosen["importance"].weighted(chosen["coverage"]).mean("tile")

    def _of(self, cls: str) -> xr.Dataset:
        return self._dataset.isel(cls=self._index("cls", cls))

    def _refuse_moved_groups(self) -> None:
        """Refuse groups that are not where ``group_of_band`` counts them: every band would get another's curve."""
        dataset = self._dataset
        group, nm = dataset["group_of_band"].to_numpy(), dataset["wavelength"].to_numpy()
        nm, group = nm[group >= 0], group[group >= 0]
        lo, hi = (dataset[f"group_{end}_nm"].to_numpy() for end in ("lo", "hi"))
        if (group >= lo.size).any() or not ((lo[group] <= nm) & (nm < hi[group])).all():
            raise StoreError("the wavelength groups of the dataset were sorted or chosen; take all, in their own order")

    def _index(self, dim: str, name: str) -> int:
        if dim in self._dataset.coords and dim not in self._dataset.dims:
            raise StoreError(
                f"the dataset is of one {dim}; leave {dim} whole, and choose tiles or plots by isel or sel"
            )
        names = self._names(dim)
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise SettingsError(f"there is no {dim} '{name}' among {', '.join(names)}{hint}")
        return names.index(name)

    def _classes(self) -> list[str]:
        return self._names("cls")

    def _names(self, dim: str) -> list[str]:
        if dim not in self._dataset.coords:
            raise StoreError(f"the dataset has no '{dim}'; give one of explanation.zarr or importance.zarr")
        return [str(name) for name in self._dataset[dim].to_numpy()]

    def _title(self) -> str:
        """Name the campaign, or of ``importance.zarr`` the campaigns, and what is simulated."""
        attrs = self._dataset.attrs
        sources = attrs.get("sources", {str(attrs.get("campaign", "")): attrs})
        chosen = self._dataset["campaign"].to_numpy().ravel() if "campaign" in self._dataset.coords else sources
        names = [str(name) for name in chosen]
        title = ", ".join(names) if len(names) < _MANY else f"{len(names)} campaigns"
        simulated = any(sources.get(name, {}).get("simulated") for name in names)
        return f"{title} (simulated data)" if simulated else title
