"""A planted campaign of 24 tiles and a model of random weights, as the steps before ``explain`` leave them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from focus_core.config import ExplainSettings
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import quantised
from focus_core.model import BACKBONE_WEIGHTS, BackboneReference, Focus, save_backbone, save_model, sha256_of
from tests.conftest import VIT
from tests.focus_core.aggregation.small_field import publish_store
from tests.focus_core.steps.planted import tiles

COUNT = 24
PER_FILE = 8
"""Tiles in a file of ``tiles.zarr``."""
SETTINGS = ExplainSettings(batch_tiles=2, tiles_per_shard=5)


def write_campaign(folder: Path, small_model: Callable[..., Focus]) -> tuple[str, str]:
    """Write ``tiles.zarr`` and a model folder; return their URIs."""
    layout = {"chunks": (1, 12, 12, 12), "shards": (PER_FILE, 12, 12, 12)}
    publish_store(folder / "tiles.zarr", tiles(plots=COUNT // 2), TILES, {"reflectance": {**quantised(), **layout}})
    model = small_model()
    backbone, own = folder / "backbone", folder / "focus"
    backbone.mkdir()
    own.mkdir()
    save_backbone(model.vit, VIT, "random", backbone)
    reference = BackboneReference(uri=str(backbone), sha256=sha256_of(backbone / BACKBONE_WEIGHTS), kind="random")
    model.spec = model.spec.model_copy(update={"backbone": reference})
    save_model(model, own)
    return str(folder / "tiles.zarr"), str(own)


def chunk_of(tile: int, tiles_uri: str) -> tuple[Path, int, int]:
    """Return the file of a tile, and offset and length of its chunk there, as the shard's index says."""
    path = Path(tiles_uri) / "reflectance" / "c" / str(tile // PER_FILE) / "0" / "0" / "0"
    index = np.frombuffer(path.read_bytes()[-4 - 16 * PER_FILE : -4], dtype="<u8").reshape(PER_FILE, 2)
    offset, length = index[tile % PER_FILE]
    return path, int(offset), int(length)


def damage(tile: int, tiles_uri: str) -> Callable[[], object]:
    """Change one byte in the middle of a tile's chunk; return what puts the file right again."""
    path, offset, length = chunk_of(tile, tiles_uri)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[offset + length // 2] ^= 0xFF
    path.write_bytes(changed)
    return lambda: path.write_bytes(whole)
