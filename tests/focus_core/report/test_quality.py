import base64
import io

import numpy as np
import pytest
from matplotlib import image

from focus_core.report.quality import bad_ranges, quick_looks, valid_share
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
    field.attrs["bad_bands"][1]["reason"] = "noise in the water-vapour window 1340-1445 nm: signal-to-noise 1.2 below 4"
    assert [bad.reason for bad in bad_ranges(field)] == ["noise", "noise in the water-vapour window 1340-1445 nm"]
    del field.attrs["bad_bands"]
    assert [bad.reason for bad in bad_ranges(field)] == ["reason not recorded"]


def test_the_share_of_measured_pixels_is_counted():
    assert valid_share(cube()) == pytest.approx(0.9)


def test_a_field_is_shown_in_true_colour_and_with_near_infrared_as_red():
    field = cube()
    field["reflectance"].values[field["wavelength"].to_numpy() == 660.0] = np.linspace(0, 0.4, 60)
    true, false = quick_looks(field)
    assert (true.name, true.nm) == ("True colour", (660.0, 540.0, 460.0))
    assert (false.name.partition(":")[0], false.nm) == ("False colour", (860.0, 660.0, 540.0))
    for look, channel in ((true, 0), (false, 1)):
        picture = pixels(look)
        assert picture.shape == (40, 60, 4)
        assert (picture[:4, :, 3] == 0).all()
        assert (picture[4:, :, 3] == 1).all()
        assert (np.diff(picture[4:, :, channel].mean(axis=0)) >= 0).all()


def test_a_sensor_without_near_infrared_is_shown_in_true_colour_alone():
    field = cube()
    field["good_band"].values[field["wavelength"].to_numpy() > 800.0] = False
    assert [look.name for look in quick_looks(field)] == ["True colour"]


def test_a_sensor_without_visible_light_gives_false_colour_from_good_bands():
    (look,) = quick_looks(cube(sensor_floor=900.0))
    assert look.name == "False colour"
    assert look.nm[0] > look.nm[1] > look.nm[2]


def test_a_wide_field_is_thinned():
    field = cube()
    wide = field.isel(x=np.zeros(2000, dtype=int)).assign_coords(x=np.arange(2000.0))
    assert all(max(pixels(look).shape) <= 900 for look in quick_looks(wide))


def test_a_field_without_a_measurement_is_an_empty_picture():
    field = cube()
    field["valid"][:] = False
    assert all((pixels(look)[..., 3] == 0).all() for look in quick_looks(field))
