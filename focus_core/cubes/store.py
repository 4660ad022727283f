"""Open and write stores, checked against their schema, by URI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from focus_core.cubes.publish import local_path
from focus_core.cubes.schema import FILL, SCALE, Schema, check
from focus_core.errors import MissingInputError, StoreError


def open_store(uri: str | Path, schema: Schema) -> xr.Dataset:
    """Open a store lazily (dask, the store's own chunks) and check it.

    Raises
    ------
    MissingInputError
        If there is no store.
    StoreError
        If it breaks ``schema``.
    """
    path = local_path(uri)
    if not (path / "zarr.json").is_file():
        raise MissingInputError(f"'{path}': no {schema.name} there; run the step that writes it")
    try:
        dataset = xr.open_zarr(path, chunks={}, consolidated=False)
    except (ValueError, KeyError) as error:
        raise StoreError(f"'{path}' cannot be opened as Zarr: {error}") from error
    return check(dataset, schema, where=str(path))


def write_store(
    dataset: xr.Dataset, folder: Path, schema: Schema, *, encoding: dict[str, dict[str, Any]]
) -> None:
    """Check ``dataset`` and write it into a folder that `publish` provides.

    Raises
    ------
    StoreError
        If it breaks ``schema``.
    """
    check(dataset, schema, where=schema.name)
    dataset.to_zarr(folder, mode="w", consolidated=False, zarr_format=3, encoding=encoding)


def quantised() -> dict[str, Any]:
    """Return the encoding of reflectance: int16 steps of `SCALE`, `FILL` where missing.

    Values outside ±3.2767 do not fit; callers mask them first.
    """
    return {"dtype": "int16", "scale_factor": SCALE, "_FillValue": FILL}
