import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import rasterio
import xarray as xr

from focus_core.config import AggregateSettings, ExportSettings
from focus_core.cubes.schema import EXPLANATION
from focus_core.errors import MissingInputError, StoreError
from focus_core.export import export
from focus_core.export.tables import spreadsheet_safe
from focus_core.steps.aggregate import aggregate
from tests.focus_core.aggregation.small_field import (
    CLASSES,
    GROUPS,
    SPEAKS,
    explanation,
    plot_ids,
    publish_store,
    write_flight,
)

HOSTILE = ["=HYPERLINK(1)", "+2", "-7", "@SUM(A1)", *plot_ids(12)[4:]]
SETTINGS = ExportSettings(top_bands=5)


def placed(campaign):
    """As `explain` writes it: with the place of its windows."""
    crs = pyproj.CRS("EPSG:32633").to_wkt()
    transform = [0.5, 0.0, 500_000.0, 0.0, -0.5, 5_400_000.0]
    return explanation(campaign).assign_attrs(window_px=8, transform=transform, crs=crs)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two flights, the second with ids that a spreadsheet would run."""
    folder = tmp_path_factory.mktemp("source")
    for number, ids in ((1, plot_ids(12)), (2, HOSTILE)):
        flight = write_flight(folder, f"flight_{number}", ids=ids, seed=number, date=f"2026-0{number}-01")
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, str(folder / "importance.zarr"), settings=AggregateSettings())
    publish_store(folder / "placed.zarr", placed("flight_1"), EXPLANATION)
    return folder


@pytest.fixture(scope="module")
def out(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "export"
    metrics = run(source, folder, ["placed.zarr"])
    assert metrics["campaigns"] == 2
    assert metrics["rows"] == 2 * 12 * 3 * 4
    assert metrics["maps"] == 2 + len(CLASSES)
    return folder


def run(source, folder, explanations=(), settings=SETTINGS):
    uris = [str(source / name) for name in explanations]
    return export(str(source / "importance.zarr"), str(folder), explanation_uris=uris, settings=settings)


@pytest.fixture(scope="module")
def store(source):
    return xr.open_zarr(source / "importance.zarr").load()


def test_csv_and_parquet_say_the_same_and_add_up_to_the_logit(out, store):
    parquet = pd.read_parquet(out / "importance.parquet")
    csv = pd.read_csv(out / "importance.csv", keep_default_na=False)
    safe = csv.assign(plot=csv["plot"].str.removeprefix("'"))
    pd.testing.assert_frame_equal(safe, parquet, check_dtype=False)
    total = parquet.groupby(["campaign", "plot", "class"])["importance_logit"].sum()
    for (campaign, plot, name), value in total.items():
        cell = store.sel(campaign=campaign, plot=plot).isel(cls=CLASSES.index(name))
        assert value + float(cell["bias"]) == pytest.approx(float(cell["logit"]), abs=1e-5)
    row = parquet[(parquet["plot"] == "P05") & (parquet["class"] == "drought") & (parquet["group"] == "swir")].iloc[0]
    assert (row["from_nm"], row["to_nm"], row["block"], row["true_class"]) == (1450.0, 1800.0, "B1", "low_nitrogen")
    assert row["importance_logit"] == pytest.approx(350.0 * row["importance_logit_per_nm"])


def test_no_text_in_the_csv_is_a_formula(out):
    for line in (out / "importance.csv").read_text(encoding="utf-8").splitlines()[1:]:
        texts = [cell.strip('"') for cell in line.split(",")[:8]]
        assert not [text for text in texts if text[:1] in set("=+-@\t\r")]
    assert "'=HYPERLINK(1)" in (out / "importance.csv").read_text(encoding="utf-8")
    assert "=HYPERLINK(1)" in set(pd.read_parquet(out / "importance.parquet")["plot"])


def test_numbers_below_zero_stay_numbers():
    table = spreadsheet_safe(pd.DataFrame({"value": [-1.5, 2.0], "text": ["-1.5", "2"]}))
    assert table["value"].tolist() == [-1.5, 2.0]
    assert table["text"].tolist() == ["'-1.5", "2"]


def test_the_geopackage_has_a_layer_for_each_flight_with_plots_where_they_lie(out, store):
    assert sorted(pyogrio.list_layers(out / "plots.gpkg")[:, 0]) == ["flight_1", "flight_2"]
    frame = gpd.read_file(out / "plots.gpkg", layer="flight_1").set_index("plot")
    assert frame.crs.to_epsg() == 32633
    assert list(frame.index) == plot_ids(12)
    np.testing.assert_allclose(frame.area, 24.0, rtol=1e-6)
    flight = store.sel(campaign="flight_1", plot=plot_ids(12))
    np.testing.assert_allclose(frame["confidence"], flight["probability"].max("cls"), rtol=1e-6)
    for plot, row in frame.iterrows():
        cls = CLASSES.index(row["predicted"])
        cell = flight.sel(plot=plot).isel(cls=cls)
        total = sum(row[f"importance_{name}"] for name in GROUPS)
        assert total + float(cell["bias"]) == pytest.approx(float(cell["logit"]), abs=1e-5)
    np.testing.assert_allclose(frame["NDII"], flight["vegetation_index"].sel(index="NDII"))


def test_the_top_bands_are_those_of_the_group_that_speaks_for_the_class(out):
    found = json.loads((out / "top_bands.json").read_text(encoding="utf-8"))
    assert list(found) == list(CLASSES)
    for name, content in found.items():
        assert content["plots"] == 8  # four in each flight
        lo, hi = GROUPS[list(GROUPS)[SPEAKS[name]]]
        leading = content["bands"][0]
        assert lo <= leading["wavelength_nm"] < hi
        values = [band["importance_logit_per_nm"] for band in content["bands"]]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)


def test_netcdf_holds_the_whole_store(out, store):
    with xr.open_dataset(out / "importance.nc", engine="h5netcdf") as found:
        for name in store.variables:
            wanted = store[name].to_numpy()
            same = found[name].to_numpy()
            if wanted.dtype.kind == "T":
                assert same.tolist() == wanted.tolist()
            else:
                np.testing.assert_array_equal(same, wanted)
        assert found["wavelength"].attrs["units"] == "nm"
        assert json.loads(found.attrs["sources"])["flight_1"]["simulated"] is True


def test_maps_lie_below_their_flight(out):
    names = {"class.tif", "confidence.tif", *(f"saliency_{name}.tif" for name in CLASSES)}
    assert {path.name for path in (out / "flight_1").iterdir()} == names
    with rasterio.open(out / "flight_1" / "saliency_drought.tif") as file:
        assert file.count == len(GROUPS)
        assert file.crs.to_epsg() == 32633


def test_the_same_export_is_not_written_again_and_another_replaces_it(source, tmp_path):
    first = run(source, tmp_path / "e")
    written = (tmp_path / "e" / "importance.csv").stat().st_mtime_ns
    assert run(source, tmp_path / "e") == first
    assert (tmp_path / "e" / "importance.csv").stat().st_mtime_ns == written
    run(source, tmp_path / "e", settings=ExportSettings(top_bands=1))
    assert len(json.loads((tmp_path / "e" / "top_bands.json").read_text())["drought"]["bands"]) == 1


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(source, tmp_path):
    with pytest.raises(MissingInputError, match=r"no importance\.zarr there"):
        export(str(tmp_path / "none.zarr"), str(tmp_path / "e"), explanation_uris=[], settings=SETTINGS)
    with pytest.raises(StoreError, match=r"\['flight_1', 'flight_1'\]; name each once"):
        run(source, tmp_path / "e", ["placed.zarr", "placed.zarr"])
    publish_store(tmp_path / "out.zarr", placed("../escape"), EXPLANATION)
    with pytest.raises(StoreError, match=r"\['../escape'\] cannot be names of files"):
        export(
            str(source / "importance.zarr"),
            str(tmp_path / "e"),
            explanation_uris=[str(tmp_path / "out.zarr")],
            settings=SETTINGS,
        )
    assert not (tmp_path / "e").exists()
