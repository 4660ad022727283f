import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from focus_core.errors import SettingsError
from focus_core.metrics import balanced_accuracy, cluster_bootstrap


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_interval_of_a_mean_holds_the_estimate_and_grows_with_the_level(seed):
    values = np.random.default_rng(seed).normal(size=40)
    narrow, wide = (
        cluster_bootstrap(lambda rows: values[rows].mean(), np.arange(40), draws=500, seed=1, level=level)
        for level in (0.5, 0.95)
    )
    assert wide.estimate == values.mean()
    assert wide.lo <= narrow.lo <= wide.estimate <= narrow.hi <= wide.hi
    assert wide.draws == 500


def test_single_rows_give_scipys_percentile_interval():
    values = np.random.default_rng(0).exponential(size=60)
    found = cluster_bootstrap(lambda rows: values[rows].mean(), np.arange(60), draws=5000)
    expected = bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_rows_of_one_cluster_add_no_certainty():
    plots = np.random.default_rng(0).normal(size=20)
    values, clusters = np.repeat(plots, 9), np.repeat([f"p{plot:02}" for plot in range(20)], 9)
    found = cluster_bootstrap(lambda rows: values[rows].mean(), clusters, draws=500)
    single = cluster_bootstrap(lambda rows: plots[rows].mean(), np.arange(20), draws=500)
    naive = cluster_bootstrap(lambda rows: values[rows].mean(), np.arange(180), draws=500)
    assert (found.lo, found.hi) == pytest.approx((single.lo, single.hi))
    assert naive.hi - naive.lo < 0.5 * (found.hi - found.lo)


def test_a_cluster_comes_whole_wherever_its_rows_lie():
    clusters = np.array(["b", "a", "b", "c", "a", "b"])
    seen = []

    def statistic(rows):
        seen.append(np.bincount(rows, minlength=6))
        return 0.0

    cluster_bootstrap(statistic, clusters, draws=50)
    for counts in seen:
        assert len(set(counts[clusters == "b"])) == len(set(counts[clusters == "a"])) == 1
        assert counts[0] + counts[1] + counts[3] == 3


def test_strata_keep_their_number_of_clusters():
    truth = np.repeat([0, 1], [15, 3])
    predicted = np.where(np.arange(18) % 3 == 0, 1 - truth, truth)

    def statistic(rows):
        assert (truth[rows] == 1).sum() == 3
        return balanced_accuracy(truth[rows], predicted[rows])

    found = cluster_bootstrap(statistic, np.arange(18), strata=truth, draws=300)
    assert found.lo <= found.estimate <= found.hi


def test_the_seed_decides():
    values = np.arange(12.0) ** 2

    def interval(seed):
        return cluster_bootstrap(lambda rows: values[rows].mean(), np.arange(12), draws=200, seed=seed)

    assert interval(7) == interval(7)
    assert interval(7) != interval(8)


def test_undefined_draws_are_left_out_and_counted():
    truth = np.repeat([0, 1], 4)

    def gap(rows):
        if len(set(truth[rows])) < 2:
            return float("nan")
        return rows[truth[rows] == 1].mean() - rows[truth[rows] == 0].mean()

    found = cluster_bootstrap(gap, np.arange(8), draws=2000)
    assert 1900 < found.draws < 2000
    assert found.lo < found.estimate < found.hi
    never = cluster_bootstrap(lambda rows: float("nan"), np.arange(8), draws=20)
    assert np.isnan(never[:3]).all()
    assert never.draws == 0


@pytest.mark.parametrize(
    ("clusters", "strata"), [(np.zeros(5, int), None), (np.arange(2), np.arange(2))], ids=["one", "one each"]
)
def test_without_a_second_cluster_there_is_no_interval(clusters, strata):
    found = cluster_bootstrap(lambda rows: 0.5, clusters, strata=strata)
    assert found.estimate == 0.5
    assert np.isnan([found.lo, found.hi]).all()


def test_impossible_input_is_refused():
    with pytest.raises(SettingsError, match=r"found 0 draws at level 0\.95"):
        cluster_bootstrap(lambda rows: 0.0, np.arange(3), draws=0)
    with pytest.raises(SettingsError, match="at level 95"):
        cluster_bootstrap(lambda rows: 0.0, np.arange(3), level=95.0)
    with pytest.raises(SettingsError, match="at least one row"):
        cluster_bootstrap(lambda rows: 0.0, np.array([], dtype=int))
    with pytest.raises(SettingsError, match=r"one stratum for all rows of a cluster, found \[1, 2\]"):
        cluster_bootstrap(lambda rows: 0.0, np.array([0, 1, 1]), strata=np.array([1, 1, 2]))
