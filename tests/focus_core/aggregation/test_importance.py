import numpy as np
import pytest
import shapely

from focus_core.aggregation.importance import areas, campaign_importance
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.cubes.schema import IMPORTANCE, check
from tests.focus_core.aggregation.small_field import (
    BAD,
    CLASSES,
    GROUPS,
    WAVELENGTH,
    explanation,
    plot_ids,
    polygons,
    read_by_hand,
    write_flight,
)


@pytest.fixture
def campaign(tmp_path):
    return CampaignFile(write_flight(tmp_path).file).campaign


def part(campaign, plots=None, dataset=None):
    dataset = explanation() if dataset is None else dataset
    plots = read_by_hand(plot_ids()) if plots is None else plots
    return campaign_importance(dataset.chunk({"tile": 8}), campaign, plots, settings=AggregateSettings()).compute()


def test_it_obeys_the_schema_and_adds_up_to_the_logit(campaign):
    found = check(part(campaign), IMPORTANCE, where="memory")
    total = found["importance"].sum("band") + found["bias"]
    np.testing.assert_allclose(total, found["logit"], atol=1e-5)
    assert found.attrs["classes"] == list(CLASSES)
    assert str(found["date"].dt.date.item()) == "2026-06-01"


def test_bad_bands_and_bands_outside_all_groups_are_nan(campaign):
    found = part(campaign).isel(campaign=0)
    inside = np.zeros(len(WAVELENGTH), dtype=bool)
    for lo, hi in GROUPS.values():
        inside |= (lo <= WAVELENGTH) & ~(hi <= WAVELENGTH)
    for name in ("importance", "importance_per_nm", "lo", "hi"):
        assert np.array_equal(np.isfinite(found[name]).all(["plot", "cls"]), inside & ~BAD)
        assert np.array_equal(np.isnan(found[name]).all(["plot", "cls"]), ~(inside & ~BAD))
    assert (found["lo"] <= found["importance"]).where(inside & ~BAD, True).all()


def test_a_plot_without_windows_is_kept_with_its_label_and_fold_but_not_present(campaign):
    found = part(campaign, dataset=explanation(ids=plot_ids(11))).isel(campaign=0)
    lost = found.sel(plot="P12")
    assert not lost["present"]
    assert np.isnan(lost["logit"]).all()
    assert (int(lost["label"]), str(lost["fold"].item())) == (2, "test")
    assert float(lost["area_m2"]) == pytest.approx(24.0)
    assert int(found["present"].sum()) == 11


def test_labels_are_matched_by_name_where_the_model_orders_its_classes_otherwise(campaign):
    turned = ("drought", "control")
    found = part(campaign, dataset=explanation(classes=turned)).isel(campaign=0)
    assert found["label"].values.tolist() == [1, -1, 0] * 4


def test_areas_are_exact_in_metres_whatever_the_crs():
    plain = polygons(plot_ids(4))
    np.testing.assert_allclose(areas(plain), 24.0, rtol=1e-9)
    # The scale of the map projection on its central meridian is 0.9996.
    np.testing.assert_allclose(areas(plain.to_crs("EPSG:4326")), 24.0 / 0.9996**2, rtol=1e-5)
    feet = plain.set_crs("EPSG:2263", allow_override=True)
    np.testing.assert_allclose(areas(feet), 24.0 * (1200 / 3937) ** 2, rtol=1e-9)


def test_without_a_crs_the_area_is_pixels_and_says_so(campaign):
    found = part(campaign, read_by_hand(plot_ids(), crs=None))
    np.testing.assert_allclose(found["area_m2"], 24.0, rtol=1e-9)
    assert "pixels" in found["area_m2"].attrs["note"]
    assert "crs_wkt" not in found["spatial_ref"].attrs


def test_the_polygon_comes_back_from_its_text(campaign):
    plots = read_by_hand(plot_ids())
    found = part(campaign, plots).isel(campaign=0)
    shape = shapely.from_wkt(str(found["geometry"].sel(plot="P05").item()))
    assert shape.equals_exact(plots.geometry["P05"], 1e-9)
