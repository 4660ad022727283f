"""``importance.zarr`` as tables: a row for each plot, class and wavelength group, or a row for each plot.

Knows the store's layout; writes no file. A column's unit is part of its name.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr

from focus_core.cubes.per_group import per_group

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet take a text for a formula (OWASP, *CSV Injection*)."""


def importance_table(importance: xr.Dataset) -> pd.DataFrame:
    """Return every explained plot's importance in long form.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says.

    Returns
    -------
    pandas.DataFrame
        ``campaign, date, plot, true_class`` (empty where unknown), ``fold, block, class, group, from_nm, to_nm,
        importance_logit, importance_logit_per_nm, evidence_logit, sink_share, probability``; a row for each campaign,
        plot, class and wavelength group.
    """
    dims = ("campaign", "plot", "cls", "group")
    per_nm = _ordered(per_group(importance), *dims)
    width = (importance["group_hi_nm"] - importance["group_lo_nm"]).to_numpy()
    shape = per_nm.shape

    def spread(values: npt.NDArray[Any], *names: str) -> npt.NDArray[Any]:
        view = values.reshape([shape[axis] if dim in names else 1 for axis, dim in enumerate(dims)])
        return np.asarray(np.broadcast_to(view, shape)[present])

    present = np.broadcast_to(_ordered(importance["present"], "campaign", "plot")[:, :, None, None], shape)
    about = _about(importance)
    return pd.DataFrame(
        {
            "campaign": spread(_texts(importance["campaign"]), "campaign"),
            "date": spread(_dates(importance), "campaign"),
            "plot": spread(_texts(importance["plot"]), "plot"),
            **{name: spread(values, "campaign", "plot") for name, values in about.items()},
            "class": spread(_texts(importance["cls"]), "cls"),
            "group": spread(_texts(importance["group"]), "group"),
            "from_nm": spread(importance["group_lo_nm"].to_numpy(), "group"),
            "to_nm": spread(importance["group_hi_nm"].to_numpy(), "group"),
            "importance_logit": (per_nm * width)[present],
            "importance_logit_per_nm": per_nm[present],
            "evidence_logit": _ordered(importance["evidence"], *dims)[present],
            "sink_share": _ordered(importance["sink_share"], *dims)[present],
            "probability": spread(_ordered(importance["probability"], *dims[:3]), *dims[:3]),
        }
    )


def plot_table(importance: xr.Dataset, campaign: str) -> gpd.GeoDataFrame:
    """Return one flight's explained plots with their polygons and figures, a row for each.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says.
    campaign
        The flight.

    Returns
    -------
    geopandas.GeoDataFrame
        ``plot, true_class, fold, block, predicted, confidence, area_m2, n_eff``, the importance of each wavelength
        group for the predicted class (``importance_<group>``, logit units), and the vegetation indices there are.
    """
    flight = importance.sel(campaign=[campaign])
    flight = flight.isel(plot=_ordered(flight["present"], "campaign", "plot")[0])
    probability = _ordered(flight["probability"], "campaign", "plot", "cls")[0]
    best, plots = probability.argmax(axis=1), np.arange(flight.sizes["plot"])
    width = (flight["group_hi_nm"] - flight["group_lo_nm"]).to_numpy()
    own = _ordered(per_group(flight), "campaign", "plot", "cls", "group")[0, plots, best] * width
    columns: dict[str, Any] = {
        "plot": _texts(flight["plot"]),
        **{name: values[0] for name, values in _about(flight).items()},
        "predicted": _texts(flight["cls"])[best],
        "confidence": probability[plots, best],
        **{name: _ordered(flight[name], "campaign", "plot")[0] for name in ("area_m2", "n_eff")},
        **{f"importance_{name}": own[:, index] for index, name in enumerate(_texts(flight["group"]))},
    }
    if "vegetation_index" in flight:
        values = _ordered(flight["vegetation_index"], "campaign", "plot", "index")[0]
        columns |= {name: values[:, index] for index, name in enumerate(_texts(flight["index"]))}
    geometry = shapely.from_wkt(_texts(flight["geometry"].isel(campaign=0)))
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=flight["spatial_ref"].attrs.get("crs_wkt"))


def top_bands(importance: xr.Dataset, count: int) -> dict[str, dict[str, Any]]:
    """Return the bands of greatest mean importance for each class.

    Of plots whose true class it is, or, where no label is known, whose predicted class it is. All bands of a group
    have one importance, because the model sees the group whole; within it they are in order of wavelength.

    Parameters
    ----------
    importance
        As the schema ``IMPORTANCE`` says.
    count
        Bands of each class.

    Returns
    -------
    dict
        By class: ``plots`` averaged (each flight's count) and ``bands``, the greatest first, each with ``band``,
        ``wavelength_nm``, ``group`` and ``importance_logit_per_nm``.
    """
    names = _texts(importance["cls"])
    about, probability = (
        _about(importance)["true_class"],
        _ordered(importance["probability"], "campaign", "plot", "cls"),
    )
    present = _ordered(importance["present"], "campaign", "plot")
    own = about if (about[present] != "").any() else names[np.where(present[..., None], probability, 0.0).argmax(-1)]
    per_nm = _ordered(importance["importance_per_nm"], "campaign", "plot", "cls", "band")
    nm, of_band = importance["wavelength"].to_numpy(), importance["group_of_band"].to_numpy()
    groups, found = _texts(importance["group"]), {}
    for index, name in enumerate(names):
        chosen = per_nm[present & (own == name), index]
        known = np.isfinite(chosen).any(axis=0)
        mean = np.full(len(nm), -np.inf)
        mean[known] = np.nanmean(chosen[:, known], axis=0)
        order = [band for band in np.argsort(-mean, kind="stable")[:count] if known[band]]
        bands = [
            {
                "band": int(band),
                "wavelength_nm": float(nm[band]),
                "group": str(groups[of_band[band]]),
                "importance_logit_per_nm": float(mean[band]),
            }
            for band in order
        ]
        found[str(name)] = {"plots": len(chosen), "bands": bands}
    return found


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an apostrophe before every text that a spreadsheet would run as a formula."""
    safe = table.copy()
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [f"'{text}" if text.startswith(_FORMULA) else text for text in safe[name].astype(str)]
    return safe


def _about(importance: xr.Dataset) -> dict[str, npt.NDArray[np.object_]]:
    """Return true class, fold and block ``(campaign, plot)`` as text."""
    names = np.array([*importance.attrs["classes"], ""], dtype=object)
    label = _ordered(importance["label"], "campaign", "plot")
    texts = {name: importance[name].transpose("campaign", "plot") for name in ("fold", "block")}
    return {"true_class": names[label], **{name: _texts(values) for name, values in texts.items()}}


def _ordered(values: xr.DataArray, *dims: str) -> npt.NDArray[Any]:
    return np.asarray(values.transpose(*dims).to_numpy())


def _texts(values: xr.DataArray) -> npt.NDArray[np.object_]:
    return np.asarray(values.to_numpy().astype(object))


def _dates(importance: xr.Dataset) -> npt.NDArray[np.object_]:
    return np.datetime_as_string(importance["date"].to_numpy(), unit="D").astype(object)
