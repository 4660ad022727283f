import numpy as np
import pytest
import xarray as xr

from focus_core.aggregation import campaign_importance
from focus_core.config import AggregateSettings, CampaignFile
from focus_core.errors import StoreError
from tests.focus_core.aggregation.small_field import (
    BAD,
    WAVELENGTH,
    explanation,
    joined,
    plot_ids,
    read_by_hand,
    write_flight,
)


@pytest.fixture
def merge(tmp_path):
    return lambda *parts: joined(tmp_path, *parts)


@pytest.fixture
def part(tmp_path):
    def build(name="flight_1", ids=None, *, date="2026-06-01", crs="EPSG:32633", **changes):
        ids = plot_ids() if ids is None else ids
        campaign = CampaignFile(write_flight(tmp_path, name, date=date).file).campaign
        dataset = explanation(name, ids, **changes).chunk({"tile": 8})
        return campaign_importance(dataset, campaign, read_by_hand(ids, crs), settings=AggregateSettings()).compute()

    return build


def same_bits(found, wanted):
    for name, values in wanted.data_vars.items():
        other = found[name].reindex_like(values).to_numpy()
        if values.dtype.kind == "T":
            assert (other == values.to_numpy()).all(), name
        else:
            assert other.tobytes() == values.to_numpy().tobytes(), name


def test_the_other_flights_keep_their_bits_and_absent_plots_are_explicit(part, merge):
    first = part("flight_1", plot_ids(12)[:10])
    second = part("flight_2", plot_ids(12)[2:], date="2026-07-01", seed=3)
    merged = merge(first, second)
    assert [str(plot) for plot in merged["plot"].values] == plot_ids(12)
    same_bits(merged.sel(campaign=["flight_1"], plot=first["plot"]), first)
    same_bits(merged.sel(campaign=["flight_2"], plot=second["plot"]), second)
    gone = merged.sel(campaign="flight_2", plot="P01").compute()
    assert not gone["present"]
    assert int(gone["label"]) == -1
    assert gone["fold"].item() == gone["geometry"].item() == ""
    assert all(np.isnan(gone[name]).all() for name in ("importance", "logit", "evidence", "area_m2", "n_eff"))


def test_a_flight_given_again_replaces_its_earlier_version_with_the_plots_it_alone_knew(part, merge):
    other = part("flight_2", plot_ids(6), date="2026-07-01")
    before = (other, part("flight_1", plot_ids(12)))
    again = part("flight_1", plot_ids(8), seed=9)
    merged = merge(*before, again)
    assert merged.sizes == {**merge(*before).sizes, "plot": 8}
    same_bits(merged.sel(campaign=["flight_1"]), again)
    same_bits(merged.sel(campaign=["flight_2"], plot=other["plot"]), other)


def test_flights_stand_in_order_of_date_whatever_came_first(part, merge):
    late, early = part("a", date="2026-07-01"), part("b", date="2026-06-01", seed=2)
    xr.testing.assert_identical(merge(late, early).drop_attrs(deep=False), merge(early, late).drop_attrs(deep=False))
    assert merge(late, early)["campaign"].values.tolist() == ["b", "a"]


def test_new_plots_come_last_and_the_flights_before_keep_their_bits(part, merge):
    first, second = part("flight_1", plot_ids(12)[6:]), part("flight_2", plot_ids(12)[:9], date="2026-05-01", seed=3)
    merged = merge(first, second)
    assert [str(plot) for plot in merged["plot"].values] == plot_ids(12)[6:] + plot_ids(12)[:6]
    same_bits(merged.sel(campaign=["flight_1"], plot=first["plot"]), first)
    same_bits(merged.sel(campaign=["flight_2"], plot=second["plot"]), second)
    assert not merged["present"].sel(campaign="flight_1", plot="P01")


def test_plots_beyond_the_first_chunk_are_absent_in_flights_that_never_wrote_it(part, merge):
    many = plot_ids(90)
    first, second = part("flight_1", many[:3]), part("flight_2", many, date="2026-07-01", seed=3)
    merged = merge(first, second)
    same_bits(merged.sel(campaign=["flight_1"], plot=first["plot"]), first)
    same_bits(merged.sel(campaign=["flight_2"], plot=second["plot"]), second)
    gone = merged.sel(campaign="flight_1").isel(plot=slice(3, None)).compute()
    assert not gone["present"].any()
    assert (gone["label"] == -1).all()
    assert (gone["fold"] == "").all()
    assert np.isnan(gone["importance"]).all()
    assert np.isnan(gone["area_m2"]).all()


def test_a_band_that_is_bad_in_one_flight_only_keeps_its_group_and_is_nan_there(part, merge):
    worse = BAD | (np.arange(len(WAVELENGTH)) == 20)
    first, second = part("flight_1"), part("flight_2", date="2026-07-01", bad=worse)
    for merged in (merge(first, second), merge(second, first)):
        assert int(merged["group_of_band"][20]) == 2
        assert np.isnan(merged["importance"].sel(campaign="flight_2").isel(band=20)).all()
        assert np.isfinite(merged["importance"].sel(campaign="flight_1").isel(band=20)).all()
        error = merged["importance"].sum("band") + merged["bias"] - merged["logit"]
        assert float(abs(error).max()) < 1e-5


def shifted(part):
    return part.assign_coords(wavelength=part["wavelength"] + 5.0)


def renamed(part):
    return part.assign_coords(group=np.array(["a", "b", "c", "d"], dtype=np.dtypes.StringDType()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (shifted, "wavelengths differ: 35 bands 420.00-1780.00 nm in the store, 35 bands 425"),
        (renamed, "wavelength groups differ: green 500-600 nm.* in the store, a 500-600"),
        (lambda part: part.assign_attrs(reference_class=""), "classes differ"),
        (lambda part: part.isel(cls=[0, 1]), "classes differ"),
        (lambda part: part.assign_coords(spatial_ref=0), "CRS differ.*none in 'flight_2'"),
        (lambda part: part.assign_coords(group_of_band=(part["group_of_band"] + 1) % 4), "bands' groups differ"),
    ],
)
def test_flights_that_do_not_fit_are_refused_with_both_named(part, merge, change, what):
    with pytest.raises(StoreError, match=rf"flights \['flight_1'\] and 'flight_2'(?s:.*){what}"):
        merge(part("flight_1"), change(part("flight_2", date="2026-07-01")))


def test_a_flight_without_indices_may_stand_beside_one_that_has_them(part, merge):
    bare = part("flight_1")
    text = np.dtypes.StringDType()
    seen = part("flight_2", date="2026-07-01").assign(
        vegetation_index=(("campaign", "plot", "index"), np.full((1, 12, 1), 0.5)),
        index_bands=(("campaign", "index"), np.array([["800.0 nm for 800"]], dtype=text)),
    )
    seen = seen.assign_coords(index=np.array(["NDVI"], dtype=text))
    for merged in (merge(bare, seen), merge(seen, bare)):
        values = merged["vegetation_index"].isel(index=0).mean("plot").values
        np.testing.assert_array_equal(values, [np.nan, 0.5])
        assert merged["index_bands"].values[:, 0].tolist() == ["", "800.0 nm for 800"]
