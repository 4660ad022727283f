import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr, spearmanr
from torchmetrics.functional.regression import concordance_corrcoef

from focus_core.metrics import concordance, map_stability, rank_agreement, value_agreement

ARRAYS = hnp.arrays(np.float64, 8, elements=st.integers(-20, 20).map(float))


@given(ARRAYS, ARRAYS)
@settings(max_examples=40, deadline=None)
def test_correlations_are_scipys_and_symmetric(first, second):
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    for own, scipys in ((rank_agreement, spearmanr), (value_agreement, pearsonr)):
        value = own(first, second)
        assert value == pytest.approx(own(second, first), nan_ok=True)
        assert np.isnan(value) if constant else value == pytest.approx(scipys(first, second).statistic)


@given(ARRAYS, ARRAYS)
@settings(max_examples=40, deadline=None)
def test_concordance_is_torchmetrics_and_never_above_pearsons(first, second):
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return
    assert abs(concordance(first, second)) <= abs(value_agreement(first, second)) + 1e-12
    # torchmetrics divides the variances by n - 1; with equal means that cancels.
    second = second - second.mean() + first.mean()
    expected = concordance_corrcoef(torch.from_numpy(second), torch.from_numpy(first)).item()
    assert concordance(first, second) == pytest.approx(expected, abs=1e-5)


def test_concordance_by_hand_and_for_an_offset_that_correlation_forgives():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    assert concordance(first, first) == 1
    assert value_agreement(first, first + 1) == pytest.approx(1)
    assert concordance(first, first + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert concordance(first, -first + 5) == pytest.approx(-1)


@given(ARRAYS)
@settings(max_examples=40, deadline=None)
def test_rank_agreement_ignores_increasing_transforms_and_flips_under_a_sign(values):
    other = np.arange(8.0)
    value = rank_agreement(values, other)
    assert rank_agreement(np.exp(values / 10), other) == pytest.approx(value, nan_ok=True)
    assert rank_agreement(-values, other) == pytest.approx(-value, nan_ok=True)


@pytest.mark.parametrize("metric", [rank_agreement, value_agreement, concordance])
def test_missing_pairs_are_left_out_and_too_few_are_not_applicable(metric):
    first, second = np.array([1.0, 2.0, 4.0, np.nan]), np.array([1.0, 3.0, 5.0, 9.0])
    assert metric(first, second) == metric(first[:3], second[:3])
    assert np.isnan(metric(first[2:], second[2:]))
    assert np.isnan(metric(np.ones(3), np.ones(3)))


def test_map_stability_is_per_tile_and_falls_with_noise():
    rng = np.random.default_rng(0)
    maps = rng.random((5, 6, 6))
    maps[4] = 0.25
    noise = rng.normal(size=maps.shape)
    calm, wild = map_stability(maps, maps + 0.01 * noise), map_stability(maps, maps + noise)
    assert calm.shape == (5,)
    assert np.isnan(map_stability(maps, maps)[4])
    np.testing.assert_allclose(map_stability(maps, maps)[:4], 1)
    assert (calm[:4] > wild[:4]).all()
    assert calm[0] == pytest.approx(spearmanr(maps[0].ravel(), (maps + 0.01 * noise)[0].ravel()).statistic)
