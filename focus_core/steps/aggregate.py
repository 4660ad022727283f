"""The step ``aggregate``: one flight's explained windows to curves per plot, beside the other flights."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from focus_core.aggregation import campaign_importance, campaign_reflectance, write_season
from focus_core.cluster import dask_client
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.cubes.plots import read_plots
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest, local_copy, local_path, record
from focus_core.cubes.remote import is_remote
from focus_core.cubes.schema import CUBE, IMPORTANCE
from focus_core.cubes.store import open_explanation, open_store
from focus_core.errors import BusyError, MissingInputError, StoreError
from focus_core.steps._status import recorded

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 900.0
_POLL_SECONDS = 2.0


@recorded("explanation_uri")
def aggregate(
    campaign_file: str, cube_uri: str, explanation_uri: str, importance_uri: str, *, settings: AggregateSettings
) -> Metrics:
    """Average windows and pixels of each plot and publish them in ``importance.zarr``, beside the flights there.

    The other flights' numbers are carried over bit by bit; an earlier version of this flight is replaced. The same
    flight with the same inputs and settings is not computed again. Another flight that is being merged at the same
    time is waited for.

    Parameters
    ----------
    campaign_file
        The flight's campaign file; its plots and their polygons are read.
    cube_uri
        The flight's ``cube.zarr``, for the plots' spectra and vegetation indices.
    explanation_uri
        The flight's ``explanation.zarr``.
    importance_uri
        The store of all flights; written where there is none.
    settings
        Level of the intervals, trimming and indices of the spectra, and where the Dask graphs are computed.

    Returns
    -------
    Metrics
        ``plots`` explained, ``plots_absent`` (known to the store, without a window in this flight), ``windows``
        explained, ``windows_failed`` that could not be,
        ``indices`` that the sensor's bands allow, ``campaigns`` in the store, and ``identity_error``, the largest
        ``|Σ importance + bias - logit|``.

    Raises
    ------
    StoreError
        If cube or explanation are another campaign's, do not fit each other or the plots, hold numbers that are not
        finite, or differ from the store in bands, classes, wavelength groups or CRS.
    MissingInputError
        If an input does not exist.
    TargetError
        If the store cannot be written, or others write to it for a quarter of an hour.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return _merged(campaign_file, cube_uri, explanation_uri, importance_uri, settings)
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            logger.info("%s", error)
            time.sleep(_POLL_SECONDS)


def _merged(
    campaign_file: str, cube_uri: str, explanation_uri: str, importance_uri: str, settings: AggregateSettings
) -> Metrics:
    file = CampaignFile(campaign_file)
    name = file.campaign.campaign
    explanation = open_explanation(explanation_uri)
    _refuse_strangers(file, explanation, explanation_uri, open_store(cube_uri, CUBE), cube_uri)
    before = _record(importance_uri)
    own: dict[str, str | Path] = {
        "campaign_file": file.path,
        **{f"plots {number}": path for number, path in enumerate(file.plots_paths, start=1)},
        "cube": cube_uri,
        "explanation": explanation_uri,
    }
    inputs = {key: value for key, value in before["inputs"].items() if not key.startswith(f"{name}: ")}
    inputs |= {f"{name}: {key}": digest(path) for key, path in own.items()}

    def write(folder: Path) -> Metrics:
        existing = None
        if before["digest"]:
            if digest(importance_uri) != before["digest"]:
                raise BusyError(f"'{importance_uri}' was changed by another writer meanwhile; run aggregate again")
            existing = open_store(importance_uri, IMPORTANCE)
        with dask_client(settings.dask_scheduler):
            plots = read_plots(file)
            new = campaign_importance(explanation, file.campaign, plots, settings=settings).compute()
            seen = campaign_reflectance(cube_uri, file.campaign, plots, settings=settings)
            new = new.merge(seen, join="exact", compat="equals")
        _refuse_gaps(new, explanation_uri)
        new.attrs["sources"] = _sources(existing, file, explanation, explanation_uri, settings)
        # A store on S3 is read here anyway; its files are copied, where local ones are linked.
        with local_copy(importance_uri) if existing is not None else nullcontext(folder) as lent:
            flight = write_season(folder, new, before=lent, existing=existing)
        return _metrics(flight.isel(campaign=0), len(new.attrs["sources"]), explanation)

    return publish(importance_uri, step="aggregate", inputs=inputs, settings=settings, write=write)


def _refuse_strangers(
    file: CampaignFile, explanation: xr.Dataset, explanation_uri: str, cube: xr.Dataset, cube_uri: str
) -> None:
    """Refuse what does not belong to the campaign file, or bands that differ between cube and explanation."""
    name = file.campaign.campaign
    for uri, dataset, does in ((explanation_uri, explanation, "explains"), (cube_uri, cube, "shows")):
        if dataset.attrs["campaign"] != name:
            raise StoreError(
                f"'{uri}' {does} the campaign '{dataset.attrs['campaign']}', but '{file.path}' is '{name}'; give those "
                "that belong together"
            )
    ours, theirs = (dataset["wavelength"].to_numpy() for dataset in (explanation, cube))
    if ours.shape != theirs.shape or (ours != theirs).any():
        raise StoreError(f"'{cube_uri}' and '{explanation_uri}' differ in their bands; run tile and explain again")


def _record(uri: str) -> dict[str, Any]:
    """Return inputs and digest of the store as it stands, both empty where there is none."""
    try:
        return record(uri)
    except MissingInputError:
        return {"inputs": {}, "digest": ""}


def _refuse_gaps(new: xr.Dataset, explanation_uri: str) -> None:
    figures = new[["logit", "evidence", "sink_share"]].where(new["present"], 0.0)
    importance = new["importance"].where(new["present"], 0.0).where(new["group_of_band"] >= 0, 0.0)
    for name, values in figures.assign(importance=importance).data_vars.items():
        bad = ~np.isfinite(values.transpose("plot", ...).to_numpy().reshape(new.sizes["plot"], -1)).all(axis=1)
        if bad.any():
            plots = [str(plot) for plot in new["plot"].to_numpy()[bad][:5]]
            raise StoreError(
                f"'{explanation_uri}': '{name}' is not finite in windows of the plots {plots}; run explain again"
            )


def _sources(
    existing: xr.Dataset | None,
    file: CampaignFile,
    explanation: xr.Dataset,
    explanation_uri: str,
    settings: AggregateSettings,
) -> dict[str, Any]:
    """Where each campaign's numbers come from, by campaign id."""
    campaign = file.campaign
    own: dict[str, Any] = {
        "sensor": campaign.sensor,
        "simulated": campaign.simulated,
        "explanation": explanation_uri if is_remote(explanation_uri) else str(local_path(explanation_uri)),
        "explanation_digest": digest(explanation_uri),
        "windows_failed": explanation.attrs["tiles_failed"],
        "confidence": settings.confidence,
        "drift": {
            name.removeprefix("drift."): value
            for name, value in record(explanation_uri)["metrics"].items()
            if name.startswith("drift.")
        },
        **{str(key): explanation.attrs[key] for key in ("quantity", "model", "model_digest", "backbone")},
    }
    others = {} if existing is None else existing.attrs["sources"]
    return {**others, campaign.campaign: own}


def _metrics(flight: xr.Dataset, campaigns: int, explanation: xr.Dataset) -> Metrics:
    explained = flight.isel(plot=flight["present"].to_numpy())
    error = abs(explained["importance"].sum("band") + explained["bias"] - explained["logit"])
    return {
        "plots": float(explained.sizes["plot"]),
        "plots_absent": float(flight.sizes["plot"] - explained.sizes["plot"]),
        "windows": float(explanation.sizes["tile"]),
        "windows_failed": float(explanation.attrs["tiles_failed"]),
        "indices": float(explained["vegetation_index"].notnull().any("plot").sum()),
        "campaigns": float(campaigns),
        "identity_error": float(error.max()),
    }
