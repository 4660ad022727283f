from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from focus_core.config import CampaignFile
from focus_core.cubes.axes import Shape2d
from focus_core.cubes.plots import read_plots
from focus_core.errors import CampaignError, CubeError, MissingInputError
from tests.focus_core.cubes.small_campaign import TRANSFORM, Field, plot, square, write_plots


def test_polygons_with_class_block_and_fold(field: Field) -> None:
    found = read_plots(field.file())
    assert found.index.name == "plot"
    assert found.index.tolist() == sorted(f"P{block}{kind}" for block in range(4) for kind in "cd")
    assert found.loc["P2d", ["label", "block"]].tolist() == [1, "B2"]
    assert found.crs.to_epsg() == 32633
    assert found.area.tolist() == pytest.approx([11 * 15 * 0.25] * 8)
    assert sorted(found.groupby("block")["fold"].first()) == ["gate", "test", "train", "validation"]
    assert (found.groupby("block")["fold"].nunique() == 1).all()


def test_order_in_the_file_does_not_matter(field: Field) -> None:
    before = read_plots(field.file())
    field.write_plots(field.plots[::-1])
    assert read_plots(field.file()).equals(before)


def test_unlabelled_plots_and_missing_blocks(field: Field) -> None:
    field.plots[0]["properties"] |= {"label": None, "block": None}
    found = read_plots(field.write_plots().file())
    assert found.loc["P0c", ["label", "block"]].tolist() == [-1, "P0c"]
    found = read_plots(field.write(plots={"file": "plots.geojson", "label": None, "block": None}).file())
    assert (found["label"] == -1).all()
    assert found["block"].tolist() == found.index.tolist()


def test_numbers_make_good_ids(field: Field) -> None:
    for number, item in enumerate(field.plots):
        item["properties"]["plot"] = number + 1
    assert read_plots(field.write_plots().file()).index.tolist() == list("12345678")
    field.plots[0]["properties"]["plot"] = ["a", "list"]
    assert len(read_plots(field.write_plots().file())) == 8


def broken(field: Field, index: int, geometry: dict[str, Any] | None) -> None:
    field.plots[index]["geometry"] = geometry
    field.write_plots()


def test_two_plots_with_one_id(field: Field) -> None:
    field.plots[3]["properties"]["plot"] = "P0c"
    with pytest.raises(CampaignError, match=r"campaign\.yaml:\d+: plots: two plots have one id: P0c"):
        read_plots(field.write_plots().file())


def test_a_label_that_is_no_class(field: Field) -> None:
    field.plots[3]["properties"]["label"] = "drougth"
    with pytest.raises(CampaignError, match=r"plots\.label: plot 'P1d' is labelled 'drougth', not one of \['control'"):
        read_plots(field.write_plots().file())


def test_a_property_that_is_not_there(field: Field) -> None:
    field.write(plots={"file": "plots.geojson", "block": "replicate"})
    with pytest.raises(CampaignError, match=r"plots\.block: .* no property 'replicate'; it has plot, label, block"):
        read_plots(field.file())


def test_a_plot_without_a_name(field: Field) -> None:
    field.plots[2]["properties"]["plot"] = None
    with pytest.raises(CampaignError, match="plot 3 has no 'plot'"):
        read_plots(field.write_plots().file())


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (None, "plot 'P0d' is no geometry; expected a polygon"),
        ({"type": "Point", "coordinates": [412_000, 5_821_000]}, "plot 'P0d' is a Point; expected a polygon"),
        (
            {
                "type": "Polygon",
                "coordinates": [[[412_000, 0], [412_009, 9], [412_009, 0], [412_000, 9], [412_000, 0]]],
            },
            "plot 'P0d' is broken: Self-intersection",
        ),
    ],
)
def test_broken_polygons(field: Field, geometry: dict[str, Any] | None, message: str) -> None:
    broken(field, 1, geometry)
    with pytest.raises(CampaignError, match=message):
        read_plots(field.file())


def test_geojson_without_a_crs_is_in_degrees(field: Field) -> None:
    write_plots(field.folder / "plots.geojson", field.plots, epsg=None)
    with pytest.raises(CampaignError, match="which are no degrees, but says EPSG:4326"):
        read_plots(field.file())


def test_another_crs_is_transformed(field: Field) -> None:
    metric = read_plots(field.file())
    metric.reset_index().drop(columns="fold").assign(label="control").to_crs(4326).to_file(
        field.folder / "plots.geojson", driver="GeoJSON"
    )
    found = read_plots(field.file())
    assert found.geometry.iloc[0].equals_exact(metric.geometry.iloc[0], 0.01)


def test_a_crs_that_leads_nowhere_is_named(field: Field) -> None:
    plots = gpd.read_file(field.folder / "plots.geojson")
    plots.set_crs('LOCAL_CS["grid of the barn",UNIT["metre",1]]', allow_override=True).to_file(field.folder / "p.gpkg")
    field.write(plots={"file": "p.gpkg"})
    with pytest.raises(CampaignError, match=r"plots\.file: 'p\.gpkg' lies in .*barn.* from which no way leads to EPSG"):
        read_plots(field.file())


def test_files_that_hold_no_plots(field: Field) -> None:
    for text, message in (
        ("not json", "is neither GeoJSON nor GeoPackage"),
        ("{not json", "cannot be read as a vector"),
    ):
        (field.folder / "plots.geojson").write_text(text)
        with pytest.raises(CampaignError, match=rf"plots\.file: .*{message}"):
            read_plots(field.file())
    field.write_plots([])
    with pytest.raises(CampaignError, match="holds no polygons"):
        read_plots(field.file())
    (field.folder / "plots.geojson").unlink()
    with pytest.raises(MissingInputError, match=r"plots\.file: no file"):
        read_plots(field.file())


def test_a_geopackage_of_one_layer_is_read_and_of_two_refused(field: Field) -> None:
    before = read_plots(field.file())
    frame = before.reset_index().drop(columns="fold").assign(label=[("control", "drought")[n] for n in before["label"]])
    frame.to_file(field.folder / "plots.gpkg", layer="flight-1", driver="GPKG")
    field.write(plots={"file": "plots.gpkg"})
    assert read_plots(field.file()).equals(before)
    frame.to_file(field.folder / "plots.gpkg", layer="flight-2", driver="GPKG")
    with pytest.raises(CampaignError, match=r"plots\.file: 'plots\.gpkg' holds the layers \['flight-1', 'flight-2'\]"):
        read_plots(field.file())


@pytest.mark.parametrize(
    "text",
    [
        "<OGRVRTDataSource><OGRVRTLayer name='plots'><SrcDataSource>{}</SrcDataSource></OGRVRTLayer>"
        "</OGRVRTDataSource>",
        '{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read {} ! write out --of stream"}}',
    ],
)
def test_a_plots_file_leads_to_no_other_file(field: Field, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """GDAL takes either text for the polygons of the file that it names, wherever that lies."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "plots.geojson"
    (field.folder / "plots.geojson").rename(elsewhere)
    (field.folder / "plots.geojson").write_text(text.format(elsewhere))
    assert len(gpd.read_file(field.folder / "plots.geojson")) == len(field.plots)
    with pytest.raises(CampaignError, match=r"plots\.file: .*(is neither GeoJSON|cannot be read as a vector file)"):
        read_plots(field.file())


def test_pixel_positions_where_there_is_no_crs(field: Field) -> None:
    plots = [plot("a", "control", "b", square(2, 3, 4, 5, to_map=False))]
    write_plots(field.folder / "plots.geojson", plots, epsg=None)
    field.write(crs=None)
    found = read_plots(field.file())
    assert found.crs is None
    assert found.geometry.iloc[0].bounds == (2, 3, 6, 8)
    write_plots(field.folder / "plots.geojson", plots, epsg=32633)
    with pytest.raises(CampaignError, match=r"crs: is null, but 'plots.geojson' lies in EPSG:32633"):
        read_plots(field.file())


def labels_of(field: Field) -> np.ndarray:
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 2:12], labels[5:20, 15:30] = 3, 10
    scipy.io.savemat(field.folder / "gt.mat", {"gt": labels})
    field.write(crs=None, plots={"raster": "gt.mat", "values": {3: "control", 10: "drought"}, "block_px": 10})
    return labels


def test_raster_plots_are_a_class_within_a_block(field: Field) -> None:
    labels = labels_of(field)
    found = read_plots(field.file())
    assert set(found["block"]) == {"r00c00", "r00c01", "r00c02", "r01c00", "r01c01", "r01c02"}
    assert found.loc["control-r00c00"].geometry.bounds == (2, 0, 10, 10)
    assert found.loc["drought-r00c01"].geometry.bounds == (15, 5, 20, 10)
    assert found[found["label"] == 0].area.sum() == (labels == 3).sum()
    assert found[found["label"] == 1].area.sum() == (labels == 10).sum()
    assert (found.groupby("block")["fold"].nunique() == 1).all()


def test_several_numbers_may_be_of_one_class(field: Field) -> None:
    """Each by itself would be a plot of the same name."""
    labels = labels_of(field)
    labels[0:3, 4:8] = 4
    scipy.io.savemat(field.folder / "gt.mat", {"gt": labels})
    form = {"raster": "gt.mat", "values": {3: "control", 4: "control", 10: "drought"}, "block_px": 10}
    found = read_plots(field.write(plots=form).file())
    assert found.loc["control-r00c00"].geometry.area == np.isin(labels[:10, :10], (3, 4)).sum()
    assert found[found["label"] == 0].area.sum() == np.isin(labels, (3, 4)).sum()


def test_a_label_raster_without_a_place_lies_on_the_whole_cube(field: Field) -> None:
    labels = labels_of(field)
    read_plots(field.file(), Shape2d(*labels.shape))
    with pytest.raises(
        CampaignError, match=r"plots\.raster: 'gt\.mat' has 20 rows × 30 columns, the cube 30 rows × 20 columns, and"
    ):
        read_plots(field.file(), Shape2d(*labels.T.shape))


def test_a_number_that_the_raster_does_not_hold(field: Field) -> None:
    labels_of(field)
    field.write(plots={"raster": "gt.mat", "values": {3: "control", 11: "drought"}, "block_px": 10})
    with pytest.raises(CampaignError, match=r"plots\.values: 'gt\.mat' holds no pixel with \[11\]"):
        read_plots(field.file())


def write_labels(path: Path, labels: np.ndarray, *, row: float = 0, col: float = 0, **profile: Any) -> None:
    """A part of the label map: its upper left pixel lies in this row and column of it."""
    shape = {"driver": "GTiff", "height": labels.shape[0], "width": labels.shape[1], "count": 1, "dtype": labels.dtype}
    moved = TRANSFORM @ Affine.translation(col, row)
    with rasterio.open(path, "w", crs=CRS.from_epsg(32633), transform=moved, **shape, **profile) as file:
        file.write(labels, 1)


def test_georeferenced_raster_plots_lie_on_the_map(field: Field) -> None:
    labels = labels_of(field)
    write_labels(field.folder / "gt.tif", labels)
    form = {"raster": "gt.tif", "values": {3: "control", 10: "drought"}, "block_px": 10}
    found = read_plots(field.write(crs="EPSG:32633", plots=form).file())
    assert found[found["label"] == 0].area.sum() == pytest.approx((labels == 3).sum() * 0.25)
    assert found.total_bounds.tolist() == [412_001.0, 5_820_990.0, 412_015.0, 5_821_000.0]
    with pytest.raises(CampaignError, match=r"plots\.raster: 'gt\.tif' lies in EPSG:32633, the campaign in None"):
        read_plots(field.write(crs=None).file())


def test_raster_plots_of_several_tiles_are_those_of_one_map(field: Field) -> None:
    labels = labels_of(field)
    form = {"raster": "gt.tif", "values": {3: "control", 10: "drought"}, "block_px": 10}
    write_labels(field.folder / "gt.tif", labels)
    whole = read_plots(field.write(crs="EPSG:32633", plots=form).file())
    parts = {"nw.tif": (0, 0), "ne.tif": (0, 12), "sw.tif": (8, 0), "se.tif": (8, 12)}
    for name, (row, col) in parts.items():
        write_labels(field.folder / name, labels[row : row + (12 if row else 8), col : col + 18], row=row, col=col)
    found = read_plots(field.write(plots=form | {"raster": ["se.tif", "nw.tif", "ne.tif", "sw.tif"]}).file())
    assert found.drop(columns="geometry").equals(whole.drop(columns="geometry"))
    assert found.geometry.geom_equals(whole.geometry).all()


def test_where_label_rasters_overlap_the_first_counts(field: Field) -> None:
    labels = labels_of(field)
    write_labels(field.folder / "old.tif", labels)
    new = np.full((5, 10), 10, np.uint8)
    new[0] = 255
    write_labels(field.folder / "new.tif", new, row=10, col=2, nodata=255)
    form = {"values": {3: "control", 10: "drought"}, "block_px": 10}
    for order, pixels in ((["new.tif", "old.tif"], 40), (["old.tif", "new.tif"], 0)):
        found = read_plots(field.write(crs="EPSG:32633", plots=form | {"raster": order}).file())
        extra = found[found["label"] == 1].area.sum() / 0.25 - (labels == 10).sum()
        assert extra == pytest.approx(pixels)


def test_a_pixel_without_a_number_is_of_no_class(field: Field) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[:, :10], labels[:, 10:20] = 255, 1
    write_labels(field.folder / "gt.tif", labels, nodata=255)
    form = {"raster": "gt.tif", "values": {0: "control", 1: "drought"}, "block_px": 10}
    found = read_plots(field.write(crs="EPSG:32633", plots=form).file())
    assert found[found["label"] == 0].total_bounds.tolist() == [412_010.0, 5_820_990.0, 412_015.0, 5_821_000.0]


def test_several_label_rasters_need_a_place_each(field: Field) -> None:
    labels_of(field)
    form = {"raster": ["gt.mat", "gt.mat"], "values": {3: "control", 10: "drought"}, "block_px": 10}
    with pytest.raises(CampaignError, match=r"plots\.raster: names several files, but 'crs' is null: .*; join them"):
        read_plots(field.write(plots=form).file())
    write_labels(field.folder / "a.tif", np.full((4, 4), 3, np.uint8))
    write_labels(field.folder / "b.tif", np.full((4, 4), 3, np.uint8), col=4)
    field.write(crs="EPSG:32633", plots=form | {"raster": ["a.tif", "b.tif"]})
    with pytest.raises(CampaignError, match=r"plots\.values: 'a\.tif' with 1 more holds no pixel with \[10\]"):
        read_plots(field.file())
    write_labels(field.folder / "b.tif", np.full((4, 4), 10, np.uint8), col=4.5)
    with pytest.raises(CubeError, match=r"b\.tif: shifted by \(0\.50, 0\.00\) px against a\.tif"):
        read_plots(field.file())


def test_real_salinas_plots(real_data: Path) -> None:
    found = read_plots(CampaignFile(Path(__file__).parents[2] / "campaigns" / "salinas_a.yaml"))
    truth = scipy.io.loadmat(real_data / "salinasA" / "SalinasA_gt.mat")["salinasA_gt"]
    for label, number in enumerate((1, 10, 11, 12, 13, 14)):
        assert found[found["label"] == label].area.sum() == (truth == number).sum()


def test_real_enmap_plots(real_data: Path) -> None:
    """The tiles' rasters are cut from one map that lies beside them; GDAL reads it whole."""
    found = read_plots(CampaignFile(Path(__file__).parents[2] / "campaigns" / "enmap_landcover.yaml"))
    folder = real_data / "enmap_potsdam_tiles"
    with rasterio.open(folder / "enmap_landcover_unstyled.tif") as file:
        truth, whole = file.read(1), file.transform
    seen = np.zeros(truth.shape, dtype=bool)
    for path in (folder / "images").glob("*.tif"):
        with rasterio.open(path) as file:
            col, row = (round(place) for place in ~whole @ (file.transform.c, file.transform.f))
            seen[row : row + file.height, col : col + file.width] = True
    named = {1: "roof", 2: "pavement", 3: "low_vegetation", 4: "tree", 6: "water"}
    for label, (number, name) in enumerate(named.items()):
        mine = found[found["label"] == label]
        assert mine.index.str.startswith(f"{name}-").all()
        drawn = rasterize(mine.geometry, truth.shape, transform=whole).astype(bool)
        np.testing.assert_array_equal(drawn, (truth == number) & seen)
    counts = [round(found[found["label"] == label].area.sum() / 900) for label in range(5)]
    assert counts == [397, 688, 809, 1371, 263]
