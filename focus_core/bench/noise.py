"""A model of random weights, and tiles of noise for it to explain: what they cost depends on neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import timm
import torch
import xarray as xr
import zarr
from torch import nn

from focus_core.config import Settings, TrainSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.schema import TILES, WAVELENGTH_ATTRS
from focus_core.cubes.store import quantised, write_store
from focus_core.model import (
    BACKBONE_WEIGHTS,
    BackboneReference,
    BandScale,
    Focus,
    GroupRange,
    ModelSpec,
    save_backbone,
    save_model,
    sha256_of,
)
from focus_core.model.blocks import Vit
from focus_core.training import readable_blocks

BANDS = 200
_GROUPS = 8
_FIRST_NM, _STEP_NM = 405.0, 10.0
_TILES_PER_FILE = 4
_NO_BACKBONE = BackboneReference(uri="random", sha256="0" * 64, kind="random")


class _TilesSize(Settings):
    """Size of a generated ``tiles.zarr``."""

    tiles: int
    """Number of windows."""
    side_px: int
    """Rows and columns of a window, pixels."""


def random_focus(vit: Vit, classes: int, backbone: BackboneReference = _NO_BACKBONE) -> Focus:
    """Return a model of random weights with 200 bands and 8 groups, on the backbone's device and of its size."""
    side = int(vit.patch_embed.img_size[0])
    width_nm = BANDS * _STEP_NM / _GROUPS
    start_nm, settings = _FIRST_NM - _STEP_NM / 2, TrainSettings()
    spec = ModelSpec(
        wavelength_nm=tuple(_wavelength().tolist()),
        good_band=(True,) * BANDS,
        groups=tuple(
            GroupRange(name=f"g{index}", lo_nm=start_nm + index * width_nm, hi_nm=start_nm + (index + 1) * width_nm)
            for index in range(_GROUPS)
        ),
        classes=tuple(f"class {index}" for index in range(classes)),
        reference_class=None,
        quantity="reflectance",
        window_px=side,
        input_px=side,
        read_blocks=readable_blocks(len(vit.blocks), settings)[0],
        rank=settings.rank,
        prompt_seeds=settings.prompt_seeds,
        group_dropout=settings.group_dropout[0],
        sink=settings.sink,
        backbone=backbone,
        training_campaign="noise",
        simulated=True,
    )
    device = next(vit.parameters()).device
    model = Focus(spec, vit, BandScale(torch.full((BANDS,), 0.3), torch.full((BANDS,), 0.1))).to(device)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    return model.eval()


def write_model(folder: Path, timm_name: str, *, side_px: int, classes: int) -> str:
    """Write a model of random weights on a ViT of timm, as ``train`` would; return its URI."""
    torch.manual_seed(1)
    arguments = {"img_size": side_px}
    vit = timm.create_model(timm_name, num_classes=0, **arguments)
    backbone, own = folder / "backbone", folder / "focus"
    for path in (backbone, own):
        path.mkdir(parents=True, exist_ok=True)
    save_backbone(vit, arguments, "random", backbone, timm_name=timm_name)
    reference = BackboneReference(uri=str(backbone), sha256=sha256_of(backbone / BACKBONE_WEIGHTS), kind="random")
    save_model(random_focus(vit, classes, reference), own)
    return str(own)


def write_tiles(uri: Path, *, tiles: int, side_px: int) -> str:
    """Write a ``tiles.zarr`` unless one of this size is there: a smooth field under noise, packed as a flight."""
    size = _TilesSize(tiles=tiles, side_px=side_px)
    publish(uri, step="bench", inputs={}, settings=size, write=lambda folder: _fill(folder, size))
    return str(uri)


def _fill(folder: Path, size: _TilesSize) -> Metrics:
    side = size.side_px
    encoding = {**quantised(), "chunks": (1, BANDS, side, side), "shards": (_TILES_PER_FILE, BANDS, side, side)}
    write_store(_layout(size), folder, TILES, encoding={"reflectance": encoding}, compute=False)
    pixels: Any = zarr.open_group(folder, mode="r+")["reflectance"]
    band, y, x = np.ogrid[:BANDS, :side, :side]
    smooth = (3000 + 1000 * np.sin(band / 30.0) + 500 * np.sin(y / 90.0) * np.cos(x / 70.0)).astype(np.int16)
    rng = np.random.default_rng(1)
    for start in range(0, size.tiles, _TILES_PER_FILE):
        count = min(_TILES_PER_FILE, size.tiles - start)
        noise = rng.integers(-30, 31, size=(count, *smooth.shape), dtype=np.int16)
        pixels[start : start + count] = smooth + noise
    return {"megabytes": size.tiles * smooth.nbytes / 1e6}


def _layout(size: _TilesSize) -> xr.Dataset:
    """Return the whole store but for the pixels."""
    count, side, text = size.tiles, size.side_px, np.dtypes.StringDType()
    whole, nm = np.ones(count), {"units": "nm"}
    blank = da.zeros((count, BANDS, side, side), dtype=np.float32, chunks=(_TILES_PER_FILE, -1, -1, -1))
    return xr.Dataset(
        {
            "reflectance": (("tile", "band", "ty", "tx"), blank),
            "band_mean": ("band", np.full(BANDS, 0.3)),
            "band_std": ("band", np.full(BANDS, 0.1)),
            "band_low": ("band", np.full(BANDS, -np.inf)),
            "band_high": ("band", np.full(BANDS, np.inf)),
        },
        coords={
            "wavelength": ("band", _wavelength(), WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(BANDS, _STEP_NM), nm),
            "good_band": ("band", np.ones(BANDS, dtype=np.bool_)),
            "row": ("tile", np.zeros(count, dtype=np.int64)),
            "col": ("tile", side * np.arange(count)),
            "plot": ("tile", np.array([f"P{number:05d}" for number in range(count)], dtype=text)),
            "label": ("tile", np.full(count, -1)),
            "fold": ("tile", np.full(count, "test", dtype=text)),
            "valid_fraction": ("tile", whole),
            "coverage": ("tile", whole * side**2),
        },
        attrs={
            "campaign": "noise",
            "classes": [],
            "quantity": "reflectance",
            "simulated": True,
            "transform": [0.1, 0.0, 0.0, 0.0, -0.1, 0.0],
            "crs": "",
        },
    )


def _wavelength() -> Any:
    return _FIRST_NM + _STEP_NM * np.arange(BANDS)
