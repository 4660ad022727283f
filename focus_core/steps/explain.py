"""The step ``explain``: every tile of a campaign explained by a model, for every class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from focus_core import tracking
from focus_core.config import ExplainSettings
from focus_core.cubes.parts import LEDGER
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.remote import is_remote
from focus_core.cubes.schema import EXPLANATION, TILES
from focus_core.cubes.store import open_store
from focus_core.errors import SettingsError
from focus_core.evaluation import drift_of_flight
from focus_core.explanation import check_tiles, explain_campaign, load_focus, repaired_tiles, warn_of_failures
from focus_core.model import ModelSpec
from focus_core.steps._status import recorded

_NAMED = 20
"""So many failed tiles have a metric of their own; the store names all."""


@recorded("explanation_uri")
def explain(tiles_uri: str, model_uri: str, explanation_uri: str, *, settings: ExplainSettings) -> Metrics:
    """Explain every tile in one frozen forward pass each, and write ``explanation.zarr``.

    A run that was killed goes on from its finished shards. A tile that cannot be read, or whose numbers are not
    finite, costs no other: its numbers are NaN and ``failure`` says why. The same call, made again, explains those of
    them that can be read by then, and leaves the rest as it is.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr``; unlabelled tiles are explained too.
    model_uri
        A model folder, or ``models:/<name>@champion``.
    explanation_uri
        Where to write.
    settings
        Sizes of batches and shards, device, and where the tasks run.

    Returns
    -------
    Metrics
        ``tiles``, ``tiles_failed`` among them, ``tile_failed.<number>`` of the first of these, the means of
        ``sink_share``, ``token_share`` and ``outlier_share``, and ``drift.…``: how far the flight is from what the
        model was trained on, as of `drift`, also logged to the model's run where the registry names it.

    Raises
    ------
    ModelError
        If the campaign's bands or quantity are not the model's; both are named.
    RegistryError
        If there is no such model.
    SettingsError
        If no scheduler answers at the address, or its workers would not see the target.
    StoreError
        If no tile can be explained.
    """
    if is_remote(explanation_uri) and settings.dask_scheduler:
        raise SettingsError(
            f"dask_scheduler: '{explanation_uri}' is written on this machine first, where workers of a cluster see "
            "nothing; explain into a folder that all of them see, or leave the scheduler out"
        )
    tiles = open_store(tiles_uri, TILES)
    model, model_digest = load_focus(model_uri)
    check_tiles(model, tiles)
    spec = model.spec

    repaired: list[int] = []

    def unfinished(metrics: Metrics) -> bool:
        if metrics["tiles_failed"]:
            repaired.extend(repaired_tiles(tiles, open_store(explanation_uri, EXPLANATION)).tolist())
        return bool(repaired)

    def write(folder: Path) -> Metrics:
        attrs, again = _attrs(tiles, model_uri, model_digest, spec), np.array(repaired) if repaired else None
        means = explain_campaign(model, tiles_uri, folder, attrs, settings=settings, again=again)
        with warnings.catch_warnings():
            # The ledger goes when the store is published.
            warnings.filterwarnings("ignore", f"Object at {LEDGER} is not recognized")
            written = open_store(folder, EXPLANATION)
        failure = written["failure"].to_numpy()
        warn_of_failures(tiles, np.arange(len(failure)), failure)
        failed = np.flatnonzero(failure != "")
        moved = {f"drift.{name}": value for name, value in drift_of_flight(spec, tiles, written, means).items()}
        if moved and spec.run_id and model_uri.startswith("models:"):
            tracking.log_metrics(spec.run_id, {f"{tiles.attrs['campaign']}.{name}": moved[name] for name in moved})
        return {
            "tiles": float(len(failure)),
            "tiles_failed": float(len(failed)),
            **{f"tile_failed.{tile}": 1.0 for tile in failed[:_NAMED]},
            **{name: float(written[name].mean()) for name in ("sink_share", "token_share", "outlier_share")},
            **moved,
        }

    inputs = {tiles_uri: digest(tiles_uri), "model": model_digest}
    return publish(
        explanation_uri, step="explain", inputs=inputs, settings=settings, write=write, unfinished=unfinished
    )


def _attrs(tiles: xr.Dataset, model_uri: str, model_digest: str, spec: ModelSpec) -> dict[str, Any]:
    return {
        "campaign": tiles.attrs["campaign"],
        "simulated": tiles.attrs["simulated"],
        "quantity": spec.quantity,
        "model": model_uri,
        "model_digest": model_digest,
        "model_run": spec.run_id or "",
        "backbone": spec.backbone.model_dump(),
        "reference_class": spec.reference_class or "",
        "window_px": tiles.sizes["ty"],
        "transform": tiles.attrs["transform"],
        "crs": tiles.attrs.get("crs", ""),
    }
