"""Open and write stores, checked against their schema, by URI."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from rasterio import Affine
from rasterio.crs import CRS
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import ObjectStore

from focus_core.cubes.axes import PixelGrid, Shape2d
from focus_core.cubes.record import local_path
from focus_core.cubes.remote import RemoteFolder, is_remote, object_store
from focus_core.cubes.schema import EXPLANATION, FILL, SCALE, Schema, check
from focus_core.cubes.whole_chunks import quick_reading
from focus_core.errors import MissingInputError, StoreError


def zarr_store(uri: str | Path) -> Path | ObjectStore[Any]:
    """Return what Zarr reads a store from: a local path, or an object store that pickles without credentials."""
    if not is_remote(uri):
        return local_path(uri)
    return ObjectStore(object_store(str(uri)), read_only=True)


def open_store(uri: str | Path, schema: Schema) -> xr.Dataset:
    """Open a store lazily and check it.

    Raises
    ------
    MissingInputError
        If there is no store.
    StoreError
        If it breaks ``schema``.
    """
    where = str(uri) if is_remote(uri) else str(local_path(uri))
    if not (RemoteFolder(uri).marker() if is_remote(uri) else (local_path(uri) / "zarr.json").is_file()):
        raise MissingInputError(f"'{where}': no {schema.name} there; run the step that writes it")
    try:
        with nullcontext() if schema.in_blocks or is_remote(uri) else quick_reading():
            dataset = xr.open_zarr(
                zarr_store(uri),
                chunks={} if schema.in_blocks else None,
                consolidated=False,
                mask_and_scale=dict.fromkeys(schema.as_stored, False),
            )
    except (ValueError, KeyError) as error:
        raise StoreError(f"'{where}' cannot be opened as Zarr: {error}") from error
    return check(dataset, schema, where=where)


def open_explanation(uri: str | Path) -> xr.Dataset:
    """Open an ``explanation.zarr`` without the tiles that could not be explained; ``tiles_failed`` counts them.

    Raises what `open_store` does.
    """
    whole = open_store(uri, EXPLANATION)
    explained = whole["failure"].to_numpy() == ""
    found = whole if explained.all() else whole.isel(tile=np.flatnonzero(explained))
    return found.assign_attrs(tiles_failed=int((~explained).sum()))


def pixel_grid(cube: xr.Dataset, where: str) -> PixelGrid:
    """Return the pixel grid of a cube, with its CRS.

    Raises
    ------
    StoreError
        If ``spatial_ref`` does not say where the pixels lie.
    """
    attrs = cube["spatial_ref"].attrs
    if "GeoTransform" not in attrs:
        raise StoreError(f"'{where}': 'spatial_ref' has no GeoTransform; run ingest again")
    transform = Affine.from_gdal(*(float(part) for part in str(attrs["GeoTransform"]).split()))
    crs = CRS.from_wkt(attrs["crs_wkt"]) if "crs_wkt" in attrs else None
    return PixelGrid(Shape2d(rows=cube.sizes["y"], cols=cube.sizes["x"]), transform, crs)


def write_store(
    dataset: xr.Dataset,
    folder: Path,
    schema: Schema,
    *,
    encoding: dict[str, dict[str, Any]],
    compute: bool = True,
) -> None:
    """Check ``dataset`` and write it into a folder that `publish` provides.

    Without ``compute``, lazy variables are laid out but not filled; the caller fills them.

    Raises
    ------
    StoreError
        If it breaks ``schema``.
    """
    check(dataset, schema, where=schema.name)
    pending = dataset.to_zarr(folder, mode="w", consolidated=False, zarr_format=3, encoding=encoding, compute=False)
    if compute:
        pending.compute()


SMALL = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2, blocksize=2**19)
"""For what is written and read once: the smallest stored size of those measured. Blosc's own choice of block, a fifth
of this one, packs and unpacks at half the speed, into 3 % more."""
QUICK = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2)
"""For what is read in every epoch: unpacks 2.6 times as fast as `SMALL` and packs 4 times as fast. Windows of four real
sensors take 3 to 5 % more with it, of AVIRIS over Salinas 28 %; whole chunks of a cube up to 50 %."""


def quantised(scale: float = SCALE, codec: BloscCodec = SMALL) -> dict[str, Any]:
    """Return the encoding of reflectance or radiance: int16 steps of ``scale``, `FILL` where missing.

    Values outside ±32767 steps do not fit (±3.2767 at the default); callers mask them first.
    """
    return {"dtype": "int16", "scale_factor": scale, "_FillValue": FILL, "fill_value": FILL, **checked(codec)}


def checked(codec: BloscCodec) -> dict[str, Any]:
    """Return the encoding of packed numbers with a checksum, by which a damaged chunk is noticed."""
    return {"compressors": (codec, Crc32cCodec())}


def quantise(values: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.int16]:
    """Return numbers as `quantised` stores them, `FILL` where they are NaN.

    Parameters
    ----------
    values
        ``(band, y, x)``, within what int16 holds.
    scale
        One step.
    """
    stored = np.empty(values.shape, dtype=np.int16)
    # Band by band, so that each step finds its numbers in the processor's cache.
    for band, out in zip(values, stored, strict=True):
        steps = np.rint(band / np.float32(scale))
        if np.isnan(steps.max()):
            steps[np.isnan(steps)] = FILL
        out[:] = steps
    return stored
