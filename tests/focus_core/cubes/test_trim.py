import numpy as np
import pytest
import shapely

from focus_core.config import TrimSettings
from focus_core.cubes.trim import trimmed
from focus_core.errors import SettingsError
from tests.focus_core.aggregation.small_cube import PIXEL_M, boxes

LONG = (10, 10, 40, 12)  # 20 m × 6 m


def trim(plots, **asked):
    return trimmed(plots, TrimSettings(**asked))


@pytest.mark.parametrize("degrees", [0.0, 31.0, 90.0, 155.0])
def test_a_negative_buffer_leaves_a_strip_out_on_every_side(degrees):
    plots = boxes(LONG, degrees=degrees)
    (inner,) = trim(plots, buffer_m=-0.5).geometry
    assert inner.area == pytest.approx(19.0 * 5.0)
    assert plots.geometry.iloc[0].buffer(1e-6).contains(inner)
    (outer,) = trim(plots, buffer_m=0.5).geometry
    assert outer.area == pytest.approx(21.0 * 7.0)  # corners stay corners


@pytest.mark.parametrize("degrees", [0.0, 31.0, 90.0, 155.0])
def test_border_rows_are_left_out_on_both_long_sides(degrees):
    plots = boxes(LONG, degrees=degrees)
    (inner,) = trim(plots, border_rows=2, row_m=0.75).geometry
    assert inner.area == pytest.approx(20.0 * 3.0, rel=1e-4)
    sides = sorted(np.hypot(*np.diff(shapely.get_coordinates(shapely.oriented_envelope(inner)), axis=0).T))
    assert sides[0] == pytest.approx(3.0, rel=1e-4)
    assert sides[-1] == pytest.approx(20.0, rel=1e-4)
    assert inner.centroid.distance(plots.geometry.iloc[0].centroid) < 1e-3
    assert trim(plots, border_rows=1, row_m=0.75, buffer_m=-0.5).geometry.iloc[0].area == pytest.approx(
        19.0 * 3.5, rel=1e-4
    )


def test_without_a_crs_a_metre_is_a_pixel_and_feet_are_converted():
    assert trim(boxes(LONG, crs=None), buffer_m=-1.0).geometry.iloc[0].area == pytest.approx(38.0 * 10.0)
    feet = boxes(LONG, crs="EPSG:2263")
    wide, high = (size * PIXEL_M * 0.3048006096 for size in LONG[2:])
    area = trim(feet, buffer_m=-0.5).geometry.iloc[0].area * 0.3048006096**2
    assert area == pytest.approx((wide - 1.0) * (high - 1.0), rel=1e-6)


def test_plots_are_returned_as_they_are_where_nothing_is_asked():
    plots = boxes(LONG)
    assert trim(plots) is plots


@pytest.mark.parametrize(
    ("plots", "asked", "message"),
    [
        (boxes(LONG, crs="EPSG:4326"), {"buffer_m": -1.0}, "projected CRS"),
        (boxes(LONG), {"border_rows": 1}, "needs row_m"),
        (boxes((0, 0, 10, 10)), {"border_rows": 1, "row_m": 0.5}, "'P00' is about square"),
        (boxes(LONG), {"buffer_m": -3.0}, "nothing is left of plot 'P00'"),
        (boxes(LONG), {"border_rows": 4, "row_m": 0.75}, "nothing is left of plot 'P00'"),
    ],
)
def test_what_cannot_be_trimmed_is_refused(plots, asked, message):
    with pytest.raises(SettingsError, match=message):
        trim(plots, **asked)
