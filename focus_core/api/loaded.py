"""A loaded model that explains tiles or a whole cube as an xarray dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from focus_core import tracking
from focus_core.config.settings import Fold
from focus_core.cubes.schema import CUBE, TILES, check
from focus_core.cubes.store import open_store
from focus_core.errors import SettingsError, StoreError
from focus_core.explanation import explain_tiles, load_focus
from focus_core.model import Focus, placement


def load(model: str | Path, *, tracking_uri: str | None = None, device: Literal["auto", "cpu"] = "auto") -> LoadedModel:
    """Load a trained model.

    Parameters
    ----------
    model
        ``models:/<name>@champion``, ``models:/<name>/<version>`` or a model folder.
    tracking_uri
        Of the MLflow registry; by default ``MLFLOW_TRACKING_URI``.
    device
        ``auto`` explains on a GPU where there is one, with bfloat16 in the frozen pass; ``cpu`` on the processor.

    Raises
    ------
    MissingInputError
        If the folder does not exist.
    RegistryError
        If the registry has no such version, or no champion.
    ModelError
        If a digest does not match its record.
    SettingsError
        If the device is another word, or the tracking URI of an unknown kind.
    """
    if device not in ("auto", "cpu"):
        raise SettingsError(f"there is no device '{device}'; auto takes a GPU where there is one, cpu never")
    tracking.configure(tracking_uri)
    focus, digest = load_focus(str(model))
    return LoadedModel(str(model), focus.place(placement(device)), digest)


class LoadedModel:
    """A model that was loaded by `load`.

    Parameters
    ----------
    uri
        Where it came from.
    focus
        The model.
    digest
        sha256 of its weights.
    """

    def __init__(self, uri: str, focus: Focus, digest: str) -> None:
        self.uri, self.digest = uri, digest
        self._focus = focus

    def __repr__(self) -> str:
        spec = self._focus.spec
        trained = f"{'simulated ' if spec.simulated else ''}campaign {spec.training_campaign}"
        return (
            f"FOCUS model {self.uri}: {', '.join(self.classes)}\n"
            f"{len(spec.groups)} wavelength groups over {len(spec.wavelength_nm)} bands, "
            f"{min(spec.wavelength_nm):.0f}-{max(spec.wavelength_nm):.0f} nm, {spec.quantity}; "
            f"{spec.backbone.kind} backbone; trained on {trained}"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of ``cls``."""
        return self._focus.spec.classes

    @property
    def groups(self) -> pd.DataFrame:
        """Wavelength groups: ``lo_nm`` (inclusive) and ``hi_nm`` (exclusive) by name."""
        groups = self._focus.spec.groups
        ranges = {"lo_nm": [g.lo_nm for g in groups], "hi_nm": [g.hi_nm for g in groups]}
        return pd.DataFrame(ranges, index=pd.Index([g.name for g in groups], name="group"))

    def explain(self, cube: str | Path | xr.Dataset, *, batch_tiles: int = 16) -> xr.Dataset:
        """Explain every window of a cube, or every tile of a ``tiles.zarr``, for every class.

        Parameters
        ----------
        cube
            A ``tiles.zarr`` or ``cube.zarr``: its path, or the dataset opened from it (``isel`` along ``tile``, or
            along ``y`` and ``x``, chooses a part). A cube is cut into windows side by side from its first pixel;
            what is left at the far edges, and windows without a valid pixel, are not explained.
        batch_tiles
            Windows in a forward pass; each is an image per wavelength group.

        Returns
        -------
        xarray.Dataset
            ``importance, evidence, sink_share, token_share (tile, cls, group)``, ``logit, probability (tile, cls)``
            and ``saliency (tile, cls, group, py, px)``; importance plus ``bias (cls)`` adds up to the logit.

        Raises
        ------
        ModelError
            If bands or quantity are not the model's.
        StoreError
            If it is neither cube nor tiles, smaller than a window, or without a valid pixel.
        MissingInputError
            If there is no such store.
        SettingsError
            If ``batch_tiles`` is below 1.
        """
        if batch_tiles < 1:
            raise SettingsError(f"batch_tiles is {batch_tiles}; a forward pass takes one window or more")
        dataset = _opened(cube)
        if "ty" not in dataset.dims:
            dataset = _windows(dataset, self._focus.spec.window_px)
        if not dataset.sizes["tile"]:
            raise StoreError(f"campaign {dataset.attrs['campaign']}: no window holds a valid pixel; give another part")
        found = explain_tiles(self._focus, dataset, np.arange(dataset.sizes["tile"]), batch_tiles=batch_tiles)
        spec = self._focus.spec
        attrs = {
            "campaign": dataset.attrs["campaign"],
            "simulated": bool(dataset.attrs["simulated"]) or spec.simulated,
            "quantity": spec.quantity,
            "model": self.uri,
            "model_digest": self.digest,
            "backbone": spec.backbone.model_dump(),
            "reference_class": spec.reference_class or "",
        }
        return found.assign_attrs(attrs)

    def compare_rivals(
        self,
        training_tiles: str | Path,
        tiles: str | Path,
        reference: str | Path,
        *,
        fold: Fold = "test",
        most_windows: int = 32,
        seed: int = 1,
    ) -> pd.DataFrame:
        """Score this model's explanations beside those of other methods, on the same backbone and windows.

        Grad-CAM, EigenCAM, integrated gradients, group ablation, occlusion and attention rollout explain a linear head
        that is fitted to the backbone's features; PLS-DA VIP and a random forest read plot means. They need the extra
        ``bench``.

        Parameters
        ----------
        training_tiles
            The ``tiles.zarr`` that the model was trained on: the rivals are fitted on its training plots.
        tiles
            The ``tiles.zarr`` to be explained; its plots have labels.
        reference
            The ``reference.zarr`` of the same flight: bands and masks that experts, or a simulation, expect.
        fold
            Part of the split that is explained.
        most_windows
            Windows that are explained at most, one of each plot, of all classes alike; some rivals take 100 times as
            long as FOCUS.
        seed
            Of what the rivals draw.

        Returns
        -------
        pandas.DataFrame
            By ``method``: ``balanced_accuracy`` over plots of what is explained, ``time_over_focus``, for each class
            with a reference ``band_iou.<class>`` and ``spatial_auc.<class>`` (0 to 1, 1 is best), and ``read_out``, how
            a curve is read. What a method cannot say is NaN.

        Raises
        ------
        ModelError
            If bands or quantity are not the model's.
        StoreError
            If the stores are not of one flight, or no labelled window is in the fold.
        SettingsError
            If the extra is not installed, or no window is to be explained.
        MissingInputError
            If there is no such store.
        """
        from focus_core.api.rivals import rival_table  # loads scikit-learn, which `load` need not wait for

        return rival_table(
            self._focus, training_tiles, tiles, reference, fold=fold, most_windows=most_windows, seed=seed
        )


def _opened(cube: str | Path | xr.Dataset) -> xr.Dataset:
    if isinstance(cube, xr.Dataset):
        return check(cube, TILES if "tile" in cube.dims else CUBE, where="the dataset")
    if not isinstance(cube, str | Path):
        raise StoreError(
            f"a {type(cube).__name__} does not say which band is which wavelength; give the path of a cube.zarr or "
            "tiles.zarr, or the whole dataset opened from it"
        )
    try:
        return open_store(cube, TILES)
    except StoreError:
        return open_store(cube, CUBE)


def _windows(cube: xr.Dataset, size: int) -> xr.Dataset:
    """Cut a cube into windows side by side, as a dataset of tiles that reads from the cube when asked."""
    rows, cols = (np.arange(0, cube.sizes[axis] - size + 1, size) for axis in ("y", "x"))
    if not len(rows) or not len(cols):
        raise StoreError(f"the cube has {cube.sizes['y']} x {cube.sizes['x']} px, a window {size} px; give more")
    whole = cube.isel(y=slice(0, len(rows) * size), x=slice(0, len(cols) * size))
    pixels = whole["reflectance"].where(whole["valid"])
    tiled = pixels.coarsen(y=size, x=size).construct(y=("ry", "ty"), x=("rx", "tx")).stack(tile=("ry", "rx"))
    fraction = whole["valid"].astype("float64").coarsen(y=size, x=size).mean().to_numpy().ravel()
    row, col = (part.ravel() for part in np.meshgrid(rows, cols, indexing="ij"))
    names = np.array([f"{y},{x}" for y, x in zip(row, col, strict=True)], dtype=object)
    tiles = xr.Dataset(
        {"reflectance": (("tile", "band", "ty", "tx"), tiled.transpose("tile", "band", "ty", "tx").data)},
        coords={
            **{name: cube[name].variable for name in ("wavelength", "fwhm", "good_band")},
            **{"row": ("tile", row), "col": ("tile", col), "plot": ("tile", names)},
            "label": ("tile", np.full(len(row), -1)),
            "fold": ("tile", np.full(len(row), "", dtype=object)),
            **dict.fromkeys(("valid_fraction", "coverage"), ("tile", fraction)),
        },
        attrs=cube.attrs,
    )
    return tiles.isel(tile=np.flatnonzero(fraction > 0))
