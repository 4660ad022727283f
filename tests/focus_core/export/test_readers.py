"""Exported files, read back by readers that had no part in writing them: every value is the store's."""

import csv
import json
import sqlite3

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import shapely
import xarray as xr
from PIL import Image

from focus_core.config import AggregateSettings, ExportSettings
from focus_core.cubes.schema import EXPLANATION
from focus_core.export import export
from focus_core.export.rasters import NO_CLASS
from focus_core.steps.aggregate import aggregate
from tests.focus_core.aggregation.small_field import CLASSES, GROUPS, explanation, publish_store, write_flight

WINDOW_PX = 8
ENVELOPE_BYTES = (0, 32, 48, 48, 64)
NUMBERS = (
    "from_nm",
    "to_nm",
    "importance_logit",
    "importance_logit_per_nm",
    "evidence_logit",
    "sink_share",
    "probability",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two flights as a store, an explanation with the place of its windows, and the export of both."""
    folder = tmp_path_factory.mktemp("readers")
    for number in (1, 2):
        flight = write_flight(folder, f"flight_{number}", seed=number, date=f"2026-0{number}-01")
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, str(folder / "importance.zarr"), settings=AggregateSettings())
    attrs = {"window_px": WINDOW_PX, "transform": [0.5, 0.0, 500_000.0, 0.0, -0.5, 5_400_000.0], "crs": ""}
    publish_store(folder / "placed.zarr", explanation("flight_1").assign_attrs(attrs), EXPLANATION)
    export(
        str(folder / "importance.zarr"),
        str(folder / "out"),
        explanation_uris=[str(folder / "placed.zarr")],
        settings=ExportSettings(),
    )
    return folder


@pytest.fixture(scope="module")
def store(folder):
    return xr.open_zarr(folder / "importance.zarr").load()


def in_group(store, group):
    """A band of a group: all of them hold the same number."""
    return store["importance_per_nm"].isel(band=int(np.flatnonzero(store["group_of_band"] == group)[0]))


def long_rows(store):
    """What the table must say of the store, number by number."""
    names = [*store.attrs["classes"], ""]
    for campaign in store["campaign"].values:
        for plot in store["plot"].values:
            cell = store.sel(campaign=campaign, plot=plot)
            for cls, name in enumerate(CLASSES):
                for group, (title, (lo, hi)) in enumerate(GROUPS.items()):
                    per_nm = float(in_group(cell, group)[cls])
                    yield {
                        "campaign": campaign, "date": str(cell["date"].values)[:10], "plot": plot,
                        "true_class": names[int(cell["label"])], "fold": cell["fold"].item(),
                        "block": cell["block"].item(), "class": name, "group": title, "from_nm": lo, "to_nm": hi,
                        "importance_logit": per_nm * (hi - lo), "importance_logit_per_nm": per_nm,
                        "evidence_logit": float(cell["evidence"][cls, group]),
                        "sink_share": float(cell["sink_share"][cls, group]),
                        "probability": float(cell["probability"][cls]),
                    }  # fmt: skip


def test_python_reads_the_csv_and_arrow_the_parquet(folder, store):
    with (folder / "out" / "importance.csv").open(encoding="utf-8", newline="") as file:
        read = [
            {key: float(text) if key in NUMBERS else text for key, text in row.items()} for row in csv.DictReader(file)
        ]
    wanted = list(long_rows(store))
    assert len(wanted) == 2 * 12 * 3 * 4
    assert read == wanted
    assert pyarrow.parquet.read_table(folder / "out" / "importance.parquet").to_pylist() == wanted


def test_sqlite_reads_the_geopackage(folder, store):
    with sqlite3.connect(folder / "out" / "plots.gpkg") as base:
        base.row_factory = sqlite3.Row
        for campaign in ("flight_1", "flight_2"):
            flight = store.sel(campaign=campaign)
            (told,) = base.execute("SELECT * FROM gpkg_geometry_columns WHERE table_name = ?", (campaign,))
            assert told["geometry_type_name"] == "POLYGON"
            rows = list(base.execute(f'SELECT * FROM "{campaign}"'))
            assert [row["plot"] for row in rows] == flight["plot"].values.tolist()
            for row in rows:
                cell = flight.sel(plot=row["plot"])
                best = int(cell["probability"].argmax("cls"))
                assert (row["predicted"], row["confidence"]) == (CLASSES[best], float(cell["probability"][best]))
                assert (row["area_m2"], row["n_eff"]) == (float(cell["area_m2"]), float(cell["n_eff"]))
                for group, (name, (lo, hi)) in enumerate(GROUPS.items()):
                    assert row[f"importance_{name}"] == float(in_group(cell, group)[best]) * (hi - lo)
                blob = row[told["column_name"]]
                assert blob[:2] == b"GP"
                shape = shapely.from_wkb(blob[8 + ENVELOPE_BYTES[blob[3] >> 1 & 7] :])
                assert shape.equals_exact(shapely.from_wkt(cell["geometry"].item()), 1e-9)
    base.close()


def test_hdf5_reads_the_netcdf(folder, store):
    with h5py.File(folder / "out" / "importance.nc") as file:
        assert json.loads(file.attrs["sources"])["flight_2"]["simulated"] is True
        for name, values in store.variables.items():
            found = file[name]
            assert found.shape == values.shape
            if values.dtype.kind == "T":
                assert found.asstr()[()].tolist() == values.values.tolist()
            elif values.dtype.kind == "M":
                unit, _, start = found.attrs["units"].partition(" since ")
                step = {"days": "D", "hours": "h", "seconds": "s"}[unit]
                dates = np.datetime64(start.replace(" ", "T")) + found[()].astype(f"timedelta64[{step}]")
                np.testing.assert_array_equal(dates, values.values)
            else:
                np.testing.assert_array_equal(found[()].astype(values.dtype), values.values)


def test_pillow_reads_the_maps(folder):
    placed = explanation("flight_1")
    row, col, weight = (placed[name].to_numpy() for name in ("row", "col", "coverage"))
    shape = (int(row.max()) + WINDOW_PX, int(col.max()) + WINDOW_PX)
    sums, total = np.zeros((len(CLASSES), *shape)), np.zeros(shape)
    for tile, (top, left) in enumerate(zip(row, col, strict=True)):
        place = (slice(top, top + WINDOW_PX), slice(left, left + WINDOW_PX))
        sums[(slice(None), *place)] += weight[tile] * placed["probability"][tile].to_numpy()[:, None, None]
        total[place] += weight[tile]
    inside = total > 0
    with Image.open(folder / "out" / "flight_1" / "class.tif") as file:
        classes = np.asarray(file)
    with Image.open(folder / "out" / "flight_1" / "confidence.tif") as file:
        confidence = np.asarray(file)
    np.testing.assert_array_equal(classes, np.where(inside, sums.argmax(axis=0), NO_CLASS))
    np.testing.assert_allclose(confidence[inside], (sums.max(axis=0) / np.maximum(total, 1e-9))[inside], rtol=1e-6)
    assert np.isnan(confidence[~inside]).all()
