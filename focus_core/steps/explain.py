"""The step ``explain``: every tile of a campaign explained by a model, for every class."""

from __future__ import annotations

from pathlib import Path

from focus_core import tracking
from focus_core.config import ExplainSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.schema import EXPLANATION, TILES
from focus_core.cubes.store import open_store
from focus_core.evaluation import drift_of_flight
from focus_core.explanation import load_focus, write_explanation
from focus_core.model import placement
from focus_core.steps._status import recorded


@recorded("explanation_uri")
def explain(tiles_uri: str, model_uri: str, explanation_uri: str, *, settings: ExplainSettings) -> Metrics:
    """Explain every tile in one frozen forward pass each, and write ``explanation.zarr``.

    Parameters
    ----------
    tiles_uri
        A ``tiles.zarr``; unlabelled tiles are explained too.
    model_uri
        A model folder, or ``models:/<name>@champion``.
    explanation_uri
        Where to write.
    settings
        Batch size and device.

    Returns
    -------
    Metrics
        ``tiles``, the means of ``sink_share`` and ``token_share``, and ``drift.…``: how far the flight is from what
        the model was trained on, as of `drift`, also logged to the model's run where the registry names it.

    Raises
    ------
    ModelError
        If the campaign's bands or quantity are not the model's; both are named.
    RegistryError
        If there is no such model.
    """
    tiles = open_store(tiles_uri, TILES)
    model, model_digest = load_focus(model_uri)
    model.place(placement(settings.device))
    spec = model.spec

    def write(folder: Path) -> Metrics:
        attrs = {
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
        write_explanation(model, tiles, folder, attrs, batch_tiles=settings.batch_tiles)
        written = open_store(folder, EXPLANATION)
        moved = {f"drift.{name}": value for name, value in drift_of_flight(spec, tiles, written).items()}
        if moved and spec.run_id and model_uri.startswith("models:"):
            tracking.log_metrics(spec.run_id, {f"{tiles.attrs['campaign']}.{name}": moved[name] for name in moved})
        return {
            "tiles": float(tiles.sizes["tile"]),
            **{name: float(written[name].mean()) for name in ("sink_share", "token_share")},
            **moved,
        }

    inputs = {tiles_uri: digest(tiles_uri), "model": model_digest}
    return publish(explanation_uri, step="explain", inputs=inputs, settings=settings, write=write)
