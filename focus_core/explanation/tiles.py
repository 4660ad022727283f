"""Explain some tiles with a model: where and which wavelengths, per class, in memory."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from focus_core import tracking
from focus_core.batches import group_means, read_readable_tiles
from focus_core.cubes.schema import EXPLANATION, WAVELENGTH_ATTRS
from focus_core.errors import StoreError
from focus_core.model import CPU, MODEL_WEIGHTS, Focus, load_model, read_spec, sha256_of

logger = logging.getLogger(__name__)

PER_TILE = {name: found.dims for name, found in EXPLANATION.variables.items() if found.dims[0] == "tile"}
"""Dims of what a model says of each tile; the rest of an explanation is the same for all tiles."""
_TILE_COORDS = ("row", "col", "plot", "label", "fold", "valid_fraction", "coverage")
_NOT_FINITE = "the model's numbers for it are not finite"
_ACCELERATOR = threading.Lock()
"""Tasks of one worker read side by side, but only one batch at a time lies on its accelerator."""


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


def explain_tiles(
    model: Focus, tiles: xr.Dataset, index: npt.NDArray[np.int64], *, batch_tiles: int = 16
) -> xr.Dataset:
    """Return the explanation of some tiles in memory, without those that cannot be explained.

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
    StoreError
        If none of the tiles can be explained.
    """
    check_tiles(model, tiles)
    arrays = explain_arrays(model, tiles, index, batch_tiles)
    explained = arrays["failure"] == ""
    warn_of_failures(tiles, index, arrays["failure"])
    values = {name: (dims, arrays[name][explained]) for name, dims in PER_TILE.items()}
    coords = tile_coords(tiles, index[explained]) | {"failure": ("tile", arrays["failure"][explained])}
    return xr.Dataset(values, coords=coords).merge(fixed_variables(model, tiles))


def check_tiles(model: Focus, tiles: xr.Dataset) -> None:
    """Refuse tiles whose bands or quantity are not the model's.

    Raises
    ------
    ModelError
        If they differ; both are named.
    """
    model.spec.check_input(
        tiles["wavelength"].to_numpy(), str(tiles.attrs["quantity"]), where=f"campaign {tiles.attrs['campaign']}"
    )


def explain_arrays(
    model: Focus, tiles: xr.Dataset, index: npt.NDArray[np.int64], batch_tiles: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the variables `PER_TILE` of some tiles, and ``failure (tile)``: why a tile has none, empty where it has.

    With ``reflectance (tile, group)``, what `group_means` says of them; NaN where the model carries nothing to compare
    it with.

    A tile that cannot be read costs no other: it goes through the model as one without a pixel, so that its batch
    keeps its shape and the others their bits, and its numbers are NaN.
    """
    parts = [_explain_batch(model, tiles, index[at : at + batch_tiles]) for at in range(0, len(index), batch_tiles)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def explain_again(
    model: Focus,
    tiles: xr.Dataset,
    index: npt.NDArray[np.int64],
    batch_tiles: int,
    arrays: dict[str, npt.NDArray[Any]],
    again: npt.NDArray[np.int64],
) -> None:
    """Explain some of the tiles that `explain_arrays` returned ``arrays`` for once more, and change them there.

    No other tile is read: the others of a batch go through the model without a pixel, so that bits are those of a run
    in which no tile failed.
    """
    for at in range(0, len(index), batch_tiles):
        batch = index[at : at + batch_tiles]
        wanted = np.isin(batch, again)
        if wanted.any():
            for name, values in _explain_batch(model, tiles, batch, wanted).items():
                arrays[name][at : at + batch_tiles][wanted] = values[wanted]


def repaired_tiles(tiles: xr.Dataset, explanation: xr.Dataset) -> npt.NDArray[np.int64]:
    """Return the tiles that could not be read when a whole explanation was written and can be now."""
    failure = explanation["failure"].to_numpy()
    unread = np.flatnonzero((failure != "") & (failure != _NOT_FINITE))
    good = [tile for tile in unread if not read_readable_tiles(tiles, np.array([tile]))[1]]
    return np.array(good, dtype=np.int64)


def _explain_batch(
    model: Focus,
    tiles: xr.Dataset,
    index: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_] | slice = slice(None),
) -> dict[str, npt.NDArray[Any]]:
    reflectance, unreadable = read_readable_tiles(tiles, index[wanted])
    means = np.full((len(index), len(model.spec.groups)), np.nan)
    if model.spec.training_plots is not None:
        means[wanted] = group_means(reflectance, model.spec)
    if len(reflectance) < len(index):
        blank = torch.full((len(index), *reflectance.shape[1:]), torch.nan)
        blank[wanted] = reflectance
        reflectance = blank
    with nullcontext() if model.placement == CPU else _ACCELERATOR:
        explanation = model.explain(reflectance)
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(explanation, name).numpy() for name in PER_TILE}
    finite = np.isfinite(arrays["logit"]).all(axis=1)
    reasons = [unreadable.get(int(tile), "" if good else _NOT_FINITE) for tile, good in zip(index, finite, strict=True)]
    failure = np.array(reasons, dtype=np.dtypes.StringDType())
    for values in arrays.values():
        values[failure != ""] = np.nan
    return {**arrays, "failure": failure, "reflectance": means}


def warn_of_failures(tiles: xr.Dataset, index: npt.NDArray[np.int64], failure: npt.NDArray[Any]) -> None:
    """Name the tiles that were not explained, each with its plot and the reason.

    Raises
    ------
    StoreError
        If no tile was.
    """
    bad = np.flatnonzero(failure != "")
    campaign = tiles.attrs["campaign"]
    if len(bad) == len(index):
        raise StoreError(f"campaign {campaign}: none of {len(index)} tiles can be explained: {failure[0]}")
    plots = tiles["plot"].to_numpy()
    for position in bad:
        tile = int(index[position])
        logger.warning("%s: tile %d of plot %s is not explained: %s", campaign, tile, plots[tile], failure[position])


def tile_coords(tiles: xr.Dataset, index: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return what ``tiles.zarr`` says of each of some tiles."""
    chosen = tiles[list(_TILE_COORDS)].isel(tile=index)
    return {name: ("tile", chosen[name].to_numpy()) for name in _TILE_COORDS}


def fixed_variables(model: Focus, tiles: xr.Dataset) -> xr.Dataset:
    """Return what is the same for all tiles: classes, bands, wavelength groups and the classes' bias."""
    spec = model.spec
    groups = spec.wavelength_groups
    nm = {"units": "nm"}
    return xr.Dataset(
        {"bias": ("cls", model.bias.detach().cpu().numpy())},
        coords={
            "cls": ("cls", np.array(spec.classes, dtype=object)),
            "group": ("group", np.array(groups.names, dtype=object)),
            "group_lo_nm": ("group", groups.lo_nm, nm),
            "group_hi_nm": ("group", groups.hi_nm, nm),
            "wavelength": ("band", np.asarray(spec.wavelength_nm), WAVELENGTH_ATTRS),
            "good_band": ("band", np.asarray(spec.good_band)),
            "group_of_band": ("band", spec.group_of_band()),
            "fwhm": ("band", tiles["fwhm"].to_numpy(), nm),
        },
    )
