import json
import multiprocessing

import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers the accessor that reads the CRS
import xarray as xr

from focus_core.config import AggregateSettings
from focus_core.cubes.record import digest, record, verify
from focus_core.cubes.schema import CUBE, EXPLANATION
from focus_core.cubes.store import quantised
from focus_core.errors import CampaignError, MissingInputError, SettingsError, StoreError, TargetError
from focus_core.steps.aggregate import aggregate
from tests.focus_core.aggregation.small_field import (
    cube,
    explanation,
    losing_windows,
    plot_ids,
    publish_store,
    write_flight,
)

SETTINGS = AggregateSettings(tiles_per_chunk=8)


def run(flight, target, settings=SETTINGS):
    uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
    return aggregate(flight.file, *uris, str(target), settings=settings)


def raw(target, campaign):
    store = xr.open_zarr(target, mask_and_scale=False).sel(campaign=[campaign])
    return {name: store[name].to_numpy() for name in store.data_vars}


@pytest.fixture
def target(tmp_path):
    return tmp_path / "importance.zarr"


def test_the_store_adds_up_to_the_logit_by_itself_and_opens_with_units_and_crs(tmp_path, target):
    metrics = run(write_flight(tmp_path), target)
    store = xr.open_zarr(target)
    error = abs(store["importance"].sum("band") + store["bias"] - store["logit"]).max()
    assert float(error) < 1e-4
    assert metrics["identity_error"] == pytest.approx(float(error))
    assert metrics["plots"] == 12
    assert store["wavelength"].attrs["units"] == "nm"
    assert store["wavelength"].attrs["standard_name"] == "radiation_wavelength"
    assert store["area_m2"].attrs["units"] == "m2"
    assert store.rio.crs.to_epsg() == 32633
    assert store.attrs["sources"]["flight_1"]["model"] == "models:/focus@champion"


def test_a_second_flight_leaves_the_first_bit_equal(tmp_path, target):
    run(write_flight(tmp_path), target)
    before = raw(target, "flight_1")
    later = write_flight(tmp_path, "flight_2", ids=plot_ids(13)[1:], seed=4, date="2026-07-01")
    metrics = run(later, target)
    assert (metrics["campaigns"], metrics["plots"], metrics["plots_absent"]) == (2, 12, 1)
    after = raw(target, "flight_1")
    for name, values in before.items():
        kept = after[name][:, :12]
        same = (kept == values).all() if values.dtype.kind == "T" else kept.tobytes() == values.tobytes()
        assert same, name
    store = xr.open_zarr(target)
    assert store["present"].sel(plot="P01").to_numpy().tolist() == [True, False]
    assert store["present"].sel(plot="P13").to_numpy().tolist() == [False, True]
    assert sorted(store.attrs["sources"]) == ["flight_1", "flight_2"]
    verify(target)


def test_adding_or_replacing_a_flight_takes_the_others_files_over_and_any_change_in_them_is_noticed(tmp_path, target):
    run(write_flight(tmp_path), target)
    kept = {path.name: path.stat().st_ino for path in (target / "importance").glob("c.*")}
    # An earlier date: the first flight moves to the second place.
    run(write_flight(tmp_path, "flight_0", seed=4, date="2026-05-01"), target)
    assert (target / "importance" / "c.1.0.0.0").stat().st_ino == kept["c.0.0.0.0"]
    folder = tmp_path / "again"
    folder.mkdir()
    run(write_flight(folder, "flight_0", seed=8, date="2026-07-01"), target)
    assert (target / "importance" / "c.0.0.0.0").stat().st_ino == kept["c.0.0.0.0"]
    verify(target)
    path = target / "importance" / "c.0.0.0.0"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TargetError, match="was changed after it was published"):
        verify(target)


def test_the_same_flight_again_is_not_computed_again(tmp_path, target):
    first, second = write_flight(tmp_path), write_flight(tmp_path, "flight_2", date="2026-07-01")
    run(first, target)
    metrics = run(second, target)
    written = (target / "zarr.json").stat().st_mtime_ns
    assert run(second, target) == metrics
    run(first, target)
    assert (target / "zarr.json").stat().st_mtime_ns == written


def test_a_changed_explanation_replaces_the_flight(tmp_path, target):
    flight = write_flight(tmp_path)
    run(flight, target)
    before = raw(target, "flight_1")["importance"]
    folder = tmp_path / "again"
    folder.mkdir()
    run(write_flight(folder, seed=8), target)
    assert not np.array_equal(raw(target, "flight_1")["importance"], before, equal_nan=True)
    assert set(record(target)["inputs"]) == {
        f"flight_1: {key}" for key in ("campaign_file", "cube", "explanation", "plots 1")
    }


def test_both_orders_of_arrival_give_the_same_store(tmp_path, target):
    flights = [write_flight(tmp_path), write_flight(tmp_path, "flight_2", seed=4, date="2026-07-01")]
    other = tmp_path / "other.zarr"
    for flight, back in zip(flights, reversed(flights), strict=True):
        run(flight, target)
        run(back, other)
    xr.testing.assert_identical(
        xr.open_zarr(target).drop_attrs(deep=False).compute(), xr.open_zarr(other).drop_attrs(deep=False).compute()
    )


def test_the_wrong_campaign_is_refused_and_leaves_nothing(tmp_path, target):
    first, second = write_flight(tmp_path), write_flight(tmp_path, "flight_2")
    with pytest.raises(StoreError, match=r"explains the campaign 'flight_2'.*is 'flight_1'"):
        aggregate(first.file, first.uri("cube.zarr"), second.uri("explanation.zarr"), str(target), settings=SETTINGS)
    assert not target.exists()


def test_numbers_that_are_not_finite_are_refused_by_plot_and_leave_the_store_as_it_was(tmp_path, target):
    run(write_flight(tmp_path), target)
    before = digest(target)
    broken = explanation("flight_2")
    broken["evidence"].values[broken["plot"].to_numpy() == "P07"] = np.nan
    flight = write_flight(tmp_path, "flight_2", date="2026-07-01")
    publish_store(tmp_path / "broken.zarr", broken, EXPLANATION)
    with pytest.raises(StoreError, match=r"'evidence' is not finite in windows of the plots \['P07'\]"):
        aggregate(flight.file, flight.uri("cube.zarr"), str(tmp_path / "broken.zarr"), str(target), settings=SETTINGS)
    assert digest(target) == before
    verify(target)


def test_windows_that_could_not_be_explained_are_absent_and_no_zeros(tmp_path, target):
    flight, (broken, lost) = write_flight(tmp_path), losing_windows(explanation())
    publish_store(tmp_path / "broken.zarr", broken, EXPLANATION)
    uris = (flight.uri("cube.zarr"), str(tmp_path / "broken.zarr"), str(target))
    metrics = aggregate(flight.file, *uris, settings=SETTINGS)
    assert (metrics["plots"], metrics["plots_absent"]) == (11, 1)
    assert (metrics["windows"], metrics["windows_failed"]) == ((~lost).sum(), 5)
    store = xr.open_zarr(target).isel(campaign=0)
    assert store.attrs["sources"]["flight_1"]["windows_failed"] == 5
    assert not store["present"].sel(plot="P07")
    assert store["importance"].sel(plot="P07").isnull().all()
    left = broken.isel(tile=(broken["plot"].to_numpy() == "P03") & ~lost)
    wanted = (left["logit"] * left["coverage"]).sum("tile") / left["coverage"].sum("tile")
    np.testing.assert_allclose(store["logit"].sel(plot="P03"), wanted, rtol=1e-6)


def test_a_plot_that_the_campaign_file_does_not_name_is_refused(tmp_path, target):
    flight = write_flight(tmp_path, ids=plot_ids(11))
    publish_store(tmp_path / "more.zarr", explanation(), EXPLANATION)
    with pytest.raises(StoreError, match=r"does not name: \['P12'\]"):
        aggregate(flight.file, flight.uri("cube.zarr"), str(tmp_path / "more.zarr"), str(target), settings=SETTINGS)
    assert not target.exists()


def test_missing_inputs_are_named(tmp_path, target):
    flight = write_flight(tmp_path)
    with pytest.raises(MissingInputError, match=r"nothing\.zarr.*explanation\.zarr"):
        aggregate(flight.file, flight.uri("cube.zarr"), str(tmp_path / "nothing.zarr"), str(target), settings=SETTINGS)
    (tmp_path / "flight_1.gpkg").unlink()
    with pytest.raises((MissingInputError, CampaignError), match=r"plots\.file"):
        run(flight, target)


def test_a_scheduler_that_does_not_answer_is_a_clear_error(tmp_path, target):
    settings = AggregateSettings(dask_scheduler="nowhere://127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"no Dask scheduler answers at 'nowhere://127\.0\.0\.1:1'"):
        run(write_flight(tmp_path), target, settings)
    assert not target.exists()


def test_a_cluster_writes_the_same_bytes_as_threads(tmp_path, target):
    from distributed import LocalCluster

    flight, other = write_flight(tmp_path), tmp_path / "cluster.zarr"
    run(flight, target)
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster:
        settings = SETTINGS.model_copy(update={"dask_scheduler": cluster.scheduler_address})
        run(flight, other, settings)
    assert digest(other) == digest(target)


def _run_in_process(arguments):
    flight, target = arguments
    try:
        run(flight, target)
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.services
def test_two_writers_at_once_never_lose_a_flight_silently(tmp_path, target):
    flights = [write_flight(tmp_path, f"flight_{n}", seed=n, date=f"2026-0{n}-01") for n in (1, 2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        refused = pool.map(_run_in_process, [(flight, target) for flight in flights])
    published = json.loads((target / "zarr.json").read_text())["attributes"]["sources"]
    assert len(published) + sum(bool(message) for message in refused) == 2


def test_spectra_and_indices_stand_beside_the_curves(tmp_path, target):
    metrics = run(write_flight(tmp_path), target)
    store = xr.open_zarr(target).isel(campaign=0)
    cube = xr.open_zarr(tmp_path / "flight_1.cube.zarr", consolidated=False)
    inside = (cube["x"] > 500_001) & (cube["x"] < 500_005) & (cube["y"] < 5_399_998.5) & (cube["y"] > 5_399_997)
    inner = cube["reflectance"].where(inside).mean(["y", "x"])
    assert float(abs(store["spectrum"].sel(plot="P01") - inner).max()) < 0.15  # noise of 0.45 over 32 pixels at most
    assert float(store["spectrum_area_m2"].sel(plot="P06")[0]) == pytest.approx(24.0, rel=1e-5)
    assert float(store["spectrum_area_m2"].sel(plot="P01")[0]) < 24.0  # its upper edge is not valid
    names = [str(name) for name in store["index"].values]
    assert names == list(SETTINGS.indices)
    told = dict(zip(names, store["index_bands"].values, strict=True))
    assert told["NDVI"] == "no good band within 10 nm of 800 nm"
    assert told["PRI"] == "540.0 nm for 531, 580.0 nm for 570"
    assert metrics["indices"] == 1
    green, yellow = (store["spectrum"].isel(band=band) for band in (3, 4))
    wanted = (green - yellow) / (green + yellow)
    np.testing.assert_allclose(store["vegetation_index"].sel(index="PRI"), wanted, rtol=1e-12)
    assert store["block"].values.tolist() == [f"B{n // 3}" for n in range(12)]


def test_trimmed_plots_speak_for_less_ground_and_other_indices_join(tmp_path, target):
    run(write_flight(tmp_path), target)
    later = write_flight(tmp_path, "flight_2", seed=4, date="2026-07-01")
    run(later, target, SETTINGS.model_copy(update={"buffer_m": -0.5, "indices": ("NDII", "NDVI")}))
    store = xr.open_zarr(target)
    area = store["spectrum_area_m2"].sel(plot="P06").isel(band=0)
    assert area.values == pytest.approx([24.0, 15.0], rel=1e-5)
    assert [str(name) for name in store["index"].values] == list(SETTINGS.indices)
    assert np.isnan(store["vegetation_index"].sel(campaign="flight_2", index="NDRE")).all()
    assert store["index_bands"].sel(campaign="flight_2", index="NDRE").values == ""


def test_a_cube_of_other_bands_is_refused(tmp_path, target):
    flight = write_flight(tmp_path)
    publish_store(tmp_path / "other.zarr", cube(sensor_floor=421.0), CUBE, {"reflectance": quantised()})
    with pytest.raises(StoreError, match="differ in their bands; run tile and explain again"):
        aggregate(
            flight.file,
            str(tmp_path / "other.zarr"),
            flight.uri("explanation.zarr"),
            str(target),
            settings=SETTINGS,
        )
