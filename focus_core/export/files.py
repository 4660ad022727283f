"""The files that ``focus export`` writes into one folder. Knows formats; computes no figure."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from focus_core.config import ExportSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.record import digest
from focus_core.cubes.schema import IMPORTANCE
from focus_core.cubes.store import open_explanation, open_store
from focus_core.errors import StoreError
from focus_core.export.rasters import write_maps
from focus_core.export.tables import importance_table, plot_table, spreadsheet_safe, top_bands

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def export(
    importance_uri: str, folder_uri: str, *, explanation_uris: Sequence[str], settings: ExportSettings
) -> Metrics:
    """Write ``importance.zarr``, and maps of the explanations that are given, in the formats that others read.

    ``importance.csv`` and ``importance.parquet``: a row for each flight, plot, class and wavelength group;
    ``top_bands.json``; ``plots.gpkg``: a layer for each flight; ``importance.nc``: the whole store; and below
    ``<campaign>/`` the maps of `write_maps`. The folder appears whole or not at all; the same export again is not
    written again.

    Parameters
    ----------
    importance_uri
        The store of all flights.
    folder_uri
        Folder to write.
    explanation_uris
        ``explanation.zarr`` of flights whose maps are wanted.
    settings
        How many bands are listed.

    Returns
    -------
    Metrics
        ``campaigns``, ``rows`` of the table, ``maps``, and ``megabytes`` of all files.

    Raises
    ------
    StoreError
        If a store breaks its schema, an explanation does not say where its windows lie, or two explain one campaign.
    MissingInputError
        If a store does not exist.
    TargetError
        If the folder cannot be written.
    """
    importance = open_store(importance_uri, IMPORTANCE)
    explanations = [open_explanation(uri) for uri in explanation_uris]
    names = [str(dataset.attrs["campaign"]) for dataset in explanations]
    if len(set(names)) < len(names):
        raise StoreError(f"each campaign has one explanation, but those given explain {names}; name each once")
    _refuse_paths([*names, *(str(name) for dataset in explanations for name in dataset["cls"].to_numpy())])

    def write(folder: Path) -> Metrics:
        rows = _write_tables(importance.load(), folder, settings)
        maps = 0
        for uri, dataset, name in zip(explanation_uris, explanations, names, strict=True):
            (folder / name).mkdir()
            maps += len(write_maps(dataset, folder / name, uri))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return {
            "campaigns": float(importance.sizes["campaign"]),
            "rows": float(rows),
            "maps": float(maps),
            "megabytes": size / 1e6,
        }

    inputs = {uri: digest(uri) for uri in (importance_uri, *explanation_uris)}
    return publish(folder_uri, step="export", inputs=inputs, settings=settings, write=write)


def _refuse_paths(names: Sequence[str]) -> None:
    """Refuse names of campaigns and classes that would lead out of the folder."""
    wrong = [name for name in names if not _FILE_NAME.fullmatch(name)]
    if wrong:
        raise StoreError(f"{wrong} cannot be names of files; letters, digits, '_', '.' and '-' can")


def _write_tables(importance: xr.Dataset, folder: Path, settings: ExportSettings) -> int:
    table = importance_table(importance)
    spreadsheet_safe(table).to_csv(folder / "importance.csv", index=False, lineterminator="\n")
    table.to_parquet(folder / "importance.parquet", index=False)
    text = json.dumps(top_bands(importance, settings.top_bands), indent=2, allow_nan=False)
    (folder / "top_bands.json").write_text(text + "\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a field in pixels has none
        for campaign in importance["campaign"].to_numpy():
            plot_table(importance, str(campaign)).to_file(folder / "plots.gpkg", layer=str(campaign), driver="GPKG")
    _plain(importance).to_netcdf(folder / "importance.nc", engine="h5netcdf")
    return len(table)


def _plain(importance: xr.Dataset) -> xr.Dataset:
    """Return the store with attributes and texts that netCDF can hold: nested ones as JSON, texts as objects."""

    def flat(attrs: dict[Any, Any]) -> dict[Any, Any]:
        return {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in attrs.items()}

    plain = importance.drop_encoding()
    for name, values in plain.variables.items():
        plain[name].attrs = flat(values.attrs)
        if values.dtype.kind == "T":
            plain[name] = plain[name].astype(object)
    return plain.assign_attrs(flat(plain.attrs))
