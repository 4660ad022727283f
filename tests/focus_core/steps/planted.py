"""Stores of a planted campaign: what each class does is known, and nothing takes long."""

from pathlib import Path

import numpy as np
import xarray as xr

from focus_core.config import BackboneSettings, PretrainSettings, TileSettings, TrainSettings
from focus_core.cubes.publish import publish
from focus_core.cubes.schema import REFERENCE, TILES, WAVELENGTH_ATTRS, Schema
from focus_core.cubes.store import write_store

CLASSES = ["control", "drought", "disease"]
WAVELENGTH = np.arange(425.0, 1025.0, 50.0)
PRETRAIN = PretrainSettings(backbone=BackboneSettings(width=24, depth=3, heads=3), epochs=1, batch_images=64)
TRAIN = TrainSettings(
    epochs=40, patience=40, group_dropout=(0.3,), augmented_copies=4, prompt_seeds=2, max_parameter_share=2.0
)
_FOLDS = ("train", "train", "validation", "gate", "test")
_NM = {"units": "nm"}


def tiles(plots: int = 90, seed: int = 0) -> xr.Dataset:
    """Drought lowers 550-700 nm, disease raises 700-850 nm, in the lower half of each window; 850-1000 nm is noise."""
    rng = np.random.default_rng(seed)
    plot = np.arange(plots).repeat(2)
    label = plot % 3
    reflectance = 0.3 + rng.normal(0, 0.02, (plots, 1, 1, 1))[plot] + rng.normal(0, 0.02, (len(plot), 12, 12, 12))
    reflectance[label == 1, 3:6, 6:] -= 0.15
    reflectance[label == 2, 6:9, 6:] += 0.15
    reflectance[:, 9:] = 0.3 + rng.normal(0, 0.1, (len(plot), 3, 12, 12))
    reflectance[:, :, :, :2] = np.nan
    return xr.Dataset(
        {
            "reflectance": (("tile", "band", "ty", "tx"), reflectance),
            "band_mean": ("band", np.nanmean(reflectance, axis=(0, 2, 3))),
            "band_std": ("band", np.nanstd(reflectance, axis=(0, 2, 3))),
            "band_low": ("band", np.nanmin(reflectance, axis=(0, 2, 3))),
            "band_high": ("band", np.nanmax(reflectance, axis=(0, 2, 3))),
        },
        coords={
            "wavelength": ("band", WAVELENGTH, WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(12, 50.0), _NM),
            "good_band": ("band", np.arange(12) < 11),
            "row": ("tile", np.zeros(len(plot), dtype=np.int64)),
            "col": ("tile", 12 * np.arange(len(plot))),
            "plot": ("tile", np.array([f"P{index:02d}" for index in plot], dtype=object)),
            "label": ("tile", label),
            "fold": ("tile", np.array([_FOLDS[(index // 3) % 5] for index in plot], dtype=object)),
            "valid_fraction": ("tile", np.full(len(plot), 10 / 12)),
            "coverage": ("tile", np.full(len(plot), 120.0)),
        },
        attrs={
            "campaign": "planted",
            "classes": CLASSES,
            "reference_class": "control",
            "groups": {f"g{index}": [400.0 + 150 * index, 550.0 + 150 * index] for index in range(4)},
            "input_px": 12,
            "quantity": "reflectance",
            "simulated": True,
            "transform": [0.1, 0.0, 0.0, 0.0, -0.1, 0.0],
            "crs": "",
            "summary": {},
        },
    )


def reference(tile_count: int) -> xr.Dataset:
    """The truth about `tiles`."""
    bands = np.zeros((3, 12), dtype=bool)
    bands[1, 3:6], bands[2, 6:9] = True, True
    mask = np.zeros((3, 12, 12 * tile_count), dtype=bool)
    mask[1:, 6:] = True
    return xr.Dataset(
        {"reference": (("cls", "band"), bands), "mask": (("cls", "y", "x"), mask)},
        coords={
            "cls": ("cls", np.array(CLASSES, dtype=object)),
            "wavelength": ("band", WAVELENGTH, WAVELENGTH_ATTRS),
            "null_band": ("band", np.arange(12) >= 9),
            "has_reference": ("cls", np.array([False, True, True])),
            "has_mask": ("cls", np.array([False, True, True])),
        },
        attrs={"campaign": "planted", "source": "planted"},
    )


def publish_store(uri: str, dataset: xr.Dataset, schema: Schema) -> str:
    """Publish a dataset as a finished step would; return its URI."""

    def write(staging: Path) -> dict[str, float]:
        write_store(dataset, staging, schema, encoding={})
        return {}

    publish(uri, step="planted", inputs={}, settings=TileSettings(), write=write)
    return uri


def write_stores(folder: Path) -> tuple[str, str]:
    """Publish ``tiles.zarr`` and ``reference.zarr`` below a folder; return their URIs."""
    data = tiles()
    return (
        publish_store(str(folder / "tiles.zarr"), data, TILES),
        publish_store(str(folder / "reference.zarr"), reference(data.sizes["tile"]), REFERENCE),
    )
