"""Explain tiles with a model: where and which wavelengths, per class, streamed to a dataset or a store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from rich.progress import track

from focus_core import tracking
from focus_core.batches import stream_tiles
from focus_core.cubes.schema import EXPLANATION, WAVELENGTH_ATTRS
from focus_core.cubes.store import write_store
from focus_core.model import MODEL_WEIGHTS, Focus, load_model, read_spec, sha256_of

logger = logging.getLogger(__name__)

_TILE_COORDS = ("row", "col", "plot", "label", "fold", "valid_fraction", "coverage")
_DIMS = {
    "evidence": ("tile", "cls", "group"),
    "importance": ("tile", "cls", "group"),
    "seed_importance": ("tile", "cls", "seed", "group"),
    "sink_share": ("tile", "cls", "group"),
    "token_share": ("tile", "cls", "group"),
    "prefix_attention": ("tile", "cls", "group"),
    "background_attention": ("tile", "cls", "group"),
    "logit": ("tile", "cls"),
    "probability": ("tile", "cls"),
    "saliency": ("tile", "cls", "group", "py", "px"),
}


def load_focus(model_uri: str) -> tuple[Focus, str]:
    """Load a model, and return it with the digest of its weights.

    Parameters
    ----------
    model_uri
        A model folder, ``models:/<name>/<version>`` or ``models:/<name>@champion``.

    Raises
    ------
    ModelError
        If a digest does not match its record.
    RegistryError
        If the registry has no such model.
    """
    folder = tracking.fetch_model(model_uri)
    spec = read_spec(folder)
    model = load_model(folder, tracking.fetch_backbone(spec.backbone.uri))
    return model, sha256_of(folder / MODEL_WEIGHTS)


def explain_batches(
    model: Focus, tiles: xr.Dataset, index: npt.NDArray[np.int64], batch_tiles: int
) -> Iterator[xr.Dataset]:
    """Yield the explanation of some tiles, batch by batch.

    Parameters
    ----------
    model
        Whose bands and quantity the tiles must have.
    tiles
        An open ``tiles.zarr``.
    index
        Which tiles.
    batch_tiles
        Tiles in a forward pass; a pass over a tile is a batch of one image per group.

    Raises
    ------
    ModelError
        If bands or quantity differ; both are named.
    """
    spec = model.spec
    spec.check_input(
        tiles["wavelength"].to_numpy(), str(tiles.attrs["quantity"]), where=f"campaign {tiles.attrs['campaign']}"
    )
    for part, reflectance in stream_tiles(tiles, index, batch_tiles):
        explanation = model.explain(reflectance)
        values = {name: (dims, getattr(explanation, name).numpy()) for name, dims in _DIMS.items()}
        chosen = tiles.isel(tile=part)
        coords: dict[str, Any] = {name: ("tile", chosen[name].to_numpy()) for name in _TILE_COORDS}
        yield xr.Dataset(values, coords={**coords, **_model_coords(model), "fwhm": tiles["fwhm"]}).assign(
            bias=("cls", model.bias.detach().cpu().numpy())
        )


def explain_tiles(
    model: Focus, tiles: xr.Dataset, index: npt.NDArray[np.int64], *, batch_tiles: int = 16
) -> xr.Dataset:
    """Return the explanation of some tiles in memory; arguments as of `explain_batches`."""
    return xr.concat(
        list(explain_batches(model, tiles, index, batch_tiles)), dim="tile", data_vars="minimal", coords="minimal"
    )


def write_explanation(
    model: Focus, tiles: xr.Dataset, folder: Path, attrs: dict[str, Any], *, batch_tiles: int
) -> None:
    """Stream the explanation of every tile into a store; memory does not grow with their number.

    Each batch is one chunk along ``tile``, so no two writes touch one chunk.
    """
    index = np.arange(tiles.sizes["tile"])
    batches = explain_batches(model, tiles, index, batch_tiles)
    total = -(-len(index) // batch_tiles)
    for number, batch in enumerate(track(batches, total=total, description="explain", transient=True)):
        if number == 0:
            encoding = {
                str(name): {"chunks": (batch_tiles, *batch[name].shape[1:])}
                for name in batch.variables
                if _per_tile(batch, name)
            }
            write_store(batch.assign_attrs(attrs), folder, EXPLANATION, encoding=encoding)
        else:
            fixed = [name for name in batch.variables if not _per_tile(batch, name)]
            batch.drop_vars(fixed).assign_attrs(attrs).to_zarr(folder, append_dim="tile", consolidated=False)


def _per_tile(batch: xr.Dataset, name: Any) -> bool:
    return "tile" in batch[name].dims


def _model_coords(model: Focus) -> dict[str, Any]:
    spec = model.spec
    groups = spec.wavelength_groups
    nm = {"units": "nm"}
    return {
        "cls": ("cls", np.array(spec.classes, dtype=object)),
        "group": ("group", np.array(groups.names, dtype=object)),
        "group_lo_nm": ("group", groups.lo_nm, nm),
        "group_hi_nm": ("group", groups.hi_nm, nm),
        "wavelength": ("band", np.asarray(spec.wavelength_nm), WAVELENGTH_ATTRS),
        "good_band": ("band", np.asarray(spec.good_band)),
        "group_of_band": ("band", spec.group_of_band()),
    }
