import base64
import io

import numpy as np
import pytest
from matplotlib import image

from focus_core.report.quality import bad_ranges, quick_look, valid_share
from tests.focus_core.aggregation.small_field import cube


def pixels(look):
    return image.imread(io.BytesIO(base64.b64decode(look.uri.removeprefix("data:image/png;base64,"))), format="png")


def test_neighbouring_bad_bands_of_one_kind_are_one_range():
    found = bad_ranges(cube())
    assert [(bad.lo_nm, bad.hi_nm, bad.bands, bad.reason) for bad in found] == [(1380.0, 1420.0, 2, "noise")]


def test_bad_bands_of_another_kind_are_another_range():
    field = cube()
    field.attrs["bad_bands"][1]["reason"] = "no pixel measured"
    assert [bad.reason for bad in bad_ranges(field)] == ["noise", "no pixel measured"]
    del field.attrs["bad_bands"]
    assert [bad.reason for bad in bad_ranges(field)] == ["reason not recorded"]


def test_the_share_of_measured_pixels_is_counted():
    assert valid_share(cube()) == pytest.approx(0.9)


def test_a_picture_is_true_colour_where_the_sensor_sees_red_green_and_blue():
    field = cube()
    field["reflectance"].values[field["wavelength"].to_numpy() == 660.0] = np.linspace(0, 0.4, 60)
    look = quick_look(field)
    assert look.true_colour
    assert look.nm == (660.0, 540.0, 460.0)
    picture = pixels(look)
    assert picture.shape == (40, 60, 4)
    assert (picture[:4, :, 3] == 0).all()
    assert (picture[4:, :, 3] == 1).all()
    assert (np.diff(picture[4:, :, 0].mean(axis=0)) >= 0).all()


def test_a_sensor_without_visible_light_gives_false_colour_from_good_bands():
    look = quick_look(cube(sensor_floor=900.0))
    assert not look.true_colour
    assert look.nm[0] > look.nm[1] > look.nm[2]


def test_a_wide_field_is_thinned():
    field = cube()
    wide = field.isel(x=np.zeros(2000, dtype=int)).assign_coords(x=np.arange(2000.0))
    assert max(pixels(quick_look(wide)).shape) <= 900


def test_a_field_without_a_measurement_is_an_empty_picture():
    field = cube()
    field["valid"][:] = False
    assert (pixels(quick_look(field))[..., 3] == 0).all()
