"""``focus export``: the stores in the formats that other programs read. Holds no logic of it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from focus_core.cli.options import Json, Set, SettingsFile, Verbose
from focus_core.cli.settings import read_settings
from focus_core.cli.summary import emit
from focus_core.cli.whole_run import Out


def export(
    importance_uri: Annotated[str, typer.Argument(metavar="IMPORTANCE.zarr", help="Curves of every campaign.")],
    out: Out,
    explanations: Annotated[
        list[str] | None,
        typer.Option("--maps", metavar="EXPLANATION.zarr", help="Write the maps of this flight too. Repeatable."),
    ] = None,
    settings: SettingsFile = None,
    assignments: Set = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Write CSV, Parquet, JSON, GeoPackage, NetCDF and, with --maps, cloud-optimised GeoTIFF.

    The folder appears whole or not at all. Columns carry their unit in their name; texts that a spreadsheet would run
    as a formula have an apostrophe before them in the CSV.
    """
    from focus_core.config import ExportSettings
    from focus_core.export import export as write_files

    chosen = read_settings(ExportSettings, settings, assignments or [])
    started = time.perf_counter()
    metrics = write_files(importance_uri, out, explanation_uris=explanations or [], settings=chosen)
    title = f"focus export: {time.perf_counter() - started:.1f} s, files in {out}"
    emit(title, {name: [value] for name, value in metrics.items()}, json_path)
