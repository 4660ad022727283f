import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from focus_core.aggregation import plot_statistics
from focus_core.cluster import dask_client
from focus_core.errors import StoreError
from tests.focus_core.aggregation.small_field import explanation, plot_ids


def chunked(dataset, tiles=5):
    return dataset.chunk({"tile": tiles})


def statistics(dataset, ids=None, tiles=5, confidence=0.95):
    return plot_statistics(dataset, ids or plot_ids(), tiles_per_chunk=tiles, confidence=confidence)


def by_hand(dataset, name, plot):
    own = dataset.isel(tile=dataset["plot"].to_numpy() == plot)
    return np.average(own[name].astype(float), axis=0, weights=own["coverage"])


@pytest.mark.parametrize("name", ["importance", "evidence", "sink_share", "logit"])
def test_a_plot_is_the_coverage_weighted_mean_of_its_windows(name):
    dataset = explanation()
    found = statistics(chunked(dataset)).compute()
    for plot in plot_ids():
        np.testing.assert_allclose(found[name].sel(plot=plot), by_hand(dataset, name, plot), rtol=1e-12, atol=1e-14)


def test_importance_and_bias_add_up_to_the_logit_of_the_plot():
    found = statistics(chunked(explanation())).compute()
    np.testing.assert_allclose(found["importance"].sum("group") + found["bias"], found["logit"], atol=1e-6)


def test_probability_is_the_softmax_of_the_plots_logit_not_the_mean_of_probabilities():
    dataset = explanation()
    found = statistics(chunked(dataset)).compute()
    power = np.exp(found["logit"])
    np.testing.assert_allclose(found["probability"], power / power.sum("cls"), rtol=1e-12)
    assert abs(found["probability"].sel(plot="P01") - by_hand(dataset, "probability", "P01")).max() > 1e-4


def test_the_interval_of_equal_weights_is_students():
    dataset = explanation(ids=["P01"], windows=6)
    dataset["coverage"] = ("tile", np.full(6, 3.5))
    found = statistics(chunked(dataset, 2), ["P01"], confidence=0.9).compute().isel(plot=0)
    assert float(found["n_eff"]) == pytest.approx(6.0)
    half = stats.t.ppf(0.95, 5) * stats.sem(dataset["importance"].astype(float), axis=0)
    np.testing.assert_allclose(found["hi"] - found["importance"], half, rtol=1e-9)
    np.testing.assert_allclose(found["importance"] - found["lo"], half, rtol=1e-9)


@pytest.mark.parametrize("coverage", [[1.0], [1.0, 0.01]])
def test_fewer_than_two_effective_windows_have_no_interval(coverage):
    dataset = explanation(ids=["P01"], windows=len(coverage))
    dataset["coverage"] = ("tile", np.array(coverage))
    found = statistics(chunked(dataset), ["P01"]).compute()
    assert np.isnan(found["lo"]).all()
    assert np.isnan(found["hi"]).all()
    assert np.isfinite(found["importance"]).all()


def test_the_interval_over_prompt_seeds_is_students_of_the_plots_means():
    dataset = explanation()
    found = statistics(chunked(dataset), confidence=0.9).compute().sel(plot="P03")
    by_seed = by_hand(dataset, "seed_importance", "P03")
    half = stats.t.ppf(0.95, 2) * stats.sem(by_seed, axis=1)
    np.testing.assert_allclose(found["seed_hi"] - found["importance"], half, rtol=1e-6)
    np.testing.assert_allclose(found["importance"] - found["seed_lo"], half, rtol=1e-6)


def test_one_prompt_seed_has_no_interval():
    found = statistics(chunked(explanation().isel(seed=[0]))).compute()
    assert np.isnan(found["seed_lo"]).all()
    assert np.isnan(found["seed_hi"]).all()
    assert np.isfinite(found["importance"]).all()


@settings(max_examples=10, deadline=None)
@given(
    weights=st.lists(st.floats(0.1, 1e3), min_size=2, max_size=9),
    tiles=st.integers(1, 9),
    scale=st.floats(0.01, 100.0),
)
def test_the_scale_of_weights_and_the_cut_into_chunks_do_not_matter(weights, tiles, scale):
    dataset = explanation(ids=["P01"], windows=len(weights))
    dataset["coverage"] = ("tile", np.array(weights))
    whole = statistics(chunked(dataset, len(weights)), ["P01"], len(weights)).compute()
    dataset["coverage"] = ("tile", np.array(weights) * scale)
    cut = statistics(chunked(dataset, tiles), ["P01"], tiles).compute()
    xr.testing.assert_allclose(whole, cut, rtol=1e-6, atol=1e-7)
    assert 1.0 - 1e-9 <= float(whole["n_eff"][0]) <= len(weights) + 1e-9


def test_a_plot_without_windows_is_nan_and_counted_zero():
    found = statistics(chunked(explanation(ids=["P01"])), ["P01", "P02"]).compute().sel(plot="P02")
    assert int(found["windows"]) == 0
    assert all(np.isnan(found[name]).all() for name in ("importance", "lo", "logit", "probability", "bias", "n_eff"))


def test_nothing_is_computed_before_it_is_asked_for_and_each_task_runs_once():
    runs = []
    dataset = chunked(explanation(), 6)
    dataset["importance"] = dataset["importance"].copy(
        data=dataset["importance"].data.map_blocks(lambda block: runs.append(1) or block, meta=np.empty(0, np.float32))
    )
    runs.clear()
    lazy = statistics(dataset, tiles=6)
    assert all(dask.is_dask_collection(lazy[name]) for name in lazy.data_vars)
    assert runs == []
    lazy.compute(scheduler="synchronous")
    assert len(runs) == 48 // 6


def test_threads_and_a_cluster_give_the_same_bits():
    from distributed import LocalCluster

    lazy = statistics(chunked(explanation()))
    with dask_client(None) as client:
        assert client is None
        threads = lazy.compute()
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        dask_client(cluster.scheduler_address) as client,
    ):
        assert client.scheduler_info()["workers"]
        distributed = lazy.compute()
    xr.testing.assert_identical(threads, distributed)


@pytest.mark.services
def test_worker_processes_give_the_same_bits():
    from distributed import LocalCluster

    lazy = statistics(chunked(explanation()))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        dask_client(cluster.scheduler_address),
    ):
        distributed = lazy.compute()
    xr.testing.assert_identical(lazy.compute(), distributed)


def test_windows_of_an_unknown_plot_are_refused():
    with pytest.raises(StoreError, match=r"does not name: \['P12'\]"):
        statistics(chunked(explanation()), plot_ids(11))


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan])
def test_a_window_without_positive_weight_is_refused(weight):
    dataset = explanation()
    dataset["coverage"].values[3] = weight
    with pytest.raises(StoreError, match="at tile 3"):
        statistics(chunked(dataset))
