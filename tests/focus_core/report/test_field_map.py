import dataclasses

import pyproj
import pytest
import shapely

from focus_core.report.field_map import field_map, hover_text, outline
from focus_core.report.table import PlotRow, TopGroup
from tests.focus_core.aggregation.small_field import CLASSES


def row(n=0, **changes):
    shape = shapely.box(10.0 * n, 0.0, 10.0 * n + 8.0, 5.0)
    whole = PlotRow(
        plot=f"P{n}", predicted=CLASSES[n % 3], confidence=0.95 - 0.2 * n, label=CLASSES[n % 3], fold="test",
        top=(TopGroup(name="swir", importance=1.25),), area=40.0, n_eff=3.0, sink_share=0.1, geometry=shape.wkt,
        indices=(),
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


UTM, DEGREES = pyproj.CRS("EPSG:32633"), pyproj.CRS("EPSG:4326")


def test_every_plot_has_a_shape_and_a_point_to_hover_over():
    rows = [row(n) for n in range(4)]
    figure = field_map(rows, CLASSES, UTM, rows_downwards=False)
    shapes = [trace for trace in figure.data if trace.fill == "toself"]
    points = [trace for trace in figure.data if trace.customdata is not None]
    assert sum(list(trace.x).count(None) for trace in shapes) == 4
    assert sorted(index for trace in points for index in trace.customdata) == [0, 1, 2, 3]
    assert {trace.marker.symbol for trace in points} == {"circle", "square", "diamond"}
    assert list(figure.data[-1].x) == []


def test_every_trace_says_which_rows_it_shows_and_the_first_outlines_them_all():
    rows = [row(n, label="disease" if n == 2 else CLASSES[n % 3]) for n in range(4)]
    figure = field_map(rows, CLASSES, UTM, rows_downwards=False)
    assert list(figure.data[0].x).count(None) == 4
    assert sorted(number for trace in figure.data if trace.fill == "toself" for number in trace.meta) == [0, 1, 2, 3]
    assert [list(trace.customdata) for trace in figure.data if trace.name == "not the true class"] == [[2]]


def test_surer_plots_are_stronger_in_colour():
    rows = [row(0, confidence=0.95), row(3, confidence=0.6), row(6, confidence=0.4)]
    figure = field_map(rows, CLASSES, UTM, rows_downwards=False)
    opacity = [float(trace.fillcolor.split(",")[-1][:-1]) for trace in figure.data if trace.fill == "toself"]
    assert opacity == sorted(opacity, reverse=True)
    assert len(set(opacity)) == 3


def test_plots_called_wrong_are_marked_and_others_are_not():
    rows = [row(0), row(1, label="drought"), row(2, label="")]
    figure = field_map(rows, CLASSES, UTM, rows_downwards=False)
    crossed = next(trace for trace in figure.data if trace.name == "not the true class")
    assert len(crossed.x) == 1


@pytest.mark.parametrize(
    ("crs", "downwards", "names"),
    [
        (UTM, False, ("Easting (m)", "Northing (m)")),
        (DEGREES, False, ("Longitude (°)", "Latitude (°)")),
        (None, True, ("Column (pixels)", "Row (pixels)")),
    ],
)
def test_axes_say_what_they_count_and_the_field_stands_upright(crs, downwards, names):
    layout = field_map([row()], CLASSES, crs, rows_downwards=downwards).layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == names
    assert layout.yaxis.scaleanchor == "x"
    assert (layout.yaxis.autorange == "reversed") == downwards


def test_texts_from_files_are_escaped_where_plotly_reads_html():
    text = hover_text(row(plot="<a href='x'>&", label="<b>drought"))
    assert "<a" not in text
    assert "&lt;a href=" in text
    assert "&lt;b&gt;drought" in text


def test_rings_of_a_plot_with_a_hole_are_kept_apart():
    ring = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 6, 6))
    found = outline(row(geometry=ring.wkt))
    assert found["x"].count(None) == 2
    assert len(found["x"]) == len(found["y"]) == 12
