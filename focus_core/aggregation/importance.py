"""One flight's part of ``importance.zarr``: curves by band, with each plot's area, label, fold and polygon.

Knows one campaign; does not know the others in the store.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import xarray as xr

from focus_core.aggregation.bands import per_nm, spread_over_bands
from focus_core.aggregation.statistics import plot_statistics
from focus_core.aggregation.treatments import HELD_OUT, treatment_intervals
from focus_core.config import AggregateSettings, Campaign
from focus_core.cubes.schema import WAVELENGTH_ATTRS
from focus_core.cubes.trim import metres_per_unit

UNLABELLED = -1

_CURVES = ("importance", "lo", "hi", "seed_lo", "seed_hi")

_ATTRS = {
    "importance": {"long_name": "signed contribution to the logit; summed over bands, plus bias, it is the logit"},
    "importance_per_nm": {"long_name": "signed importance of the band's group over its width", "units": "nm-1"},
    "lo": {"long_name": "lower end of the interval of importance over the plot's windows, which overlap: optimistic"},
    "hi": {"long_name": "upper end of the interval of importance over the plot's windows, which overlap: optimistic"},
    "seed_lo": {"long_name": "lower end of the interval of importance over the model's prompt seeds"},
    "seed_hi": {"long_name": "upper end of the interval of importance over the model's prompt seeds"},
    "treatment_mean": {"long_name": "mean importance over the test plots of the treatment"},
    "treatment_lo": {"long_name": "lower end of its interval over these plots"},
    "treatment_hi": {"long_name": "upper end of its interval over these plots"},
    "treatment_plots": {"long_name": "number of these plots"},
    "evidence": {"long_name": "evidence of the wavelength group before centring"},
    "sink_share": {"long_name": "share of prompt attention taken by the sink"},
    "logit": {"long_name": "contrastive logit, weighted mean over the plot's windows"},
    "probability": {"long_name": "softmax of the plot's logit"},
    "bias": {"long_name": "part of the logit that no wavelength carries"},
    "n_eff": {"long_name": "effective number of windows, (sum of weights)^2 / sum of squared weights"},
    "present": {"long_name": "whether the flight explains the plot"},
    "label": {"long_name": "index of the plot's true class in cls, -1 where unknown"},
    "fold": {"long_name": "part of the split that the plot belongs to"},
    "block": {"long_name": "trial block of the plot; treatments are compared within blocks"},
    "geometry": {"long_name": "polygon of the plot as WKT, coordinates of spatial_ref; empty where unknown"},
}  # fmt: skip


def campaign_importance(
    explanation: xr.Dataset, campaign: Campaign, plots: gpd.GeoDataFrame, *, settings: AggregateSettings
) -> xr.Dataset:
    """Return the lazy part of ``importance.zarr`` that one flight fills.

    Parameters
    ----------
    explanation
        As the schema ``EXPLANATION`` says.
    campaign
        The flight.
    plots
        As of `read_plots`: index of ids; columns ``label, block, fold, geometry``. One without windows is not
        ``present``.
    settings
        Size of a task and level of the intervals.

    Returns
    -------
    xarray.Dataset
        As the schema ``IMPORTANCE`` says, one campaign long; figures still to be computed are dask arrays.

    Raises
    ------
    StoreError
        If windows and plots do not belong together, or a wavelength group has no good band.
    """
    ids = [str(plot) for plot in plots.index]
    statistics = plot_statistics(
        explanation, ids, tiles_per_chunk=settings.tiles_per_chunk, confidence=settings.confidence
    )
    of_band = explanation["group_of_band"]
    described = _descriptions(explanation, campaign, plots)
    present = statistics["windows"] > 0
    held_out = present.to_numpy() & (described["fold"][1] == HELD_OUT)
    treatments = treatment_intervals(
        statistics["importance"], held_out, described["label"][1], confidence=settings.confidence
    )
    dataset = xr.Dataset(
        {
            **treatments,
            **{name: spread_over_bands(statistics[name], of_band) for name in _CURVES},
            "importance_per_nm": per_nm(statistics["importance"], of_band),
            **{name: statistics[name] for name in ("evidence", "sink_share", "logit", "probability", "bias", "n_eff")},
            "present": present,
            "area_m2": ("plot", areas(plots), _area_attrs(plots.crs)),
            **described,
        }
    )
    dataset = dataset.transpose("treatment", "plot", "cls", "band", "group").drop_vars("good_band", errors="ignore")
    for name, attrs in _ATTRS.items():
        dataset[name].attrs.update(attrs)
    dataset = dataset.expand_dims(campaign=np.array([campaign.campaign], dtype=np.dtypes.StringDType()))
    date = np.array([campaign.date.isoformat()], dtype="datetime64[ns]")
    classes = [str(name) for name in explanation["cls"].to_numpy()]
    return dataset.assign_coords(
        wavelength=("band", explanation["wavelength"].to_numpy(), WAVELENGTH_ATTRS),
        group_of_band=("band", of_band.to_numpy(), {"long_name": "index of the band's group, -1 outside all"}),
        date=("campaign", date),
        spatial_ref=((), 0, _crs_attrs(plots.crs)),
    ).assign_attrs(classes=classes, reference_class=explanation.attrs["reference_class"])  # fmt: skip


def areas(plots: gpd.GeoDataFrame) -> npt.NDArray[np.float64]:
    """Return the exact area of each polygon, ``(plot,)``.

    Square metres: on the plane of a projected CRS, on the ellipsoid for a geographic one (Karney 2013, *Algorithms for
    geodesics*). Without a CRS, coordinates are pixels and so is the area.
    """
    crs = plots.crs
    if crs is not None and crs.is_geographic:
        geod = crs.get_geod()
        return np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in plots.geometry])
    return np.asarray(plots.geometry.area, dtype=np.float64) * metres_per_unit(crs) ** 2


def _area_attrs(crs: pyproj.CRS | None) -> dict[str, str]:
    attrs = {"units": "m2", "long_name": "area of the plot's polygon"}
    return attrs if crs is not None else {**attrs, "note": "the campaign names no CRS: pixels, not square metres"}


def _crs_attrs(crs: pyproj.CRS | None) -> dict[str, object]:
    return {} if crs is None else {**crs.to_cf(), "spatial_ref": crs.to_wkt()}


def _descriptions(
    explanation: xr.Dataset, campaign: Campaign, plots: gpd.GeoDataFrame
) -> dict[str, tuple[str, npt.NDArray[Any]]]:
    """Label, block, fold and polygon of each plot; what the windows say goes before the campaign file."""
    classes = [str(name) for name in explanation["cls"].to_numpy()]
    text = np.dtypes.StringDType()
    named = (explanation[name].to_numpy() for name in ("plot", "label", "fold"))
    windows = {str(plot): (int(number), str(fold)) for plot, number, fold in zip(*named, strict=True)}
    label, fold = [], []
    for plot, own, where in zip(plots.index, plots["label"], plots["fold"], strict=True):
        number, part = windows.get(str(plot), (int(own), str(where)))
        name = campaign.classes[number] if number >= 0 else None
        label.append(classes.index(name) if name in classes else UNLABELLED)
        fold.append(part)
    return {
        "label": ("plot", np.array(label, dtype=np.int64)),
        "fold": ("plot", np.array(fold, dtype=text)),
        "block": ("plot", np.array(plots["block"].tolist(), dtype=text)),
        "geometry": ("plot", np.array(plots.geometry.to_wkt(rounding_precision=-1), dtype=text)),
    }
