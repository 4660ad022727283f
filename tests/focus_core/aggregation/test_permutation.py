import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from focus_core.aggregation.permutation import blocked_difference

BLOCKS, CLASSES, GROUPS = 30, 4, 21
"""The demo's: every block holds one plot of each class; groups of 100 nm between 400 and 2500 nm."""


def trial(rng, blocks=BLOCKS, draw=None):
    """Two plots of each block with importance ``(plot, class × group)``, contrastive over classes, as a model's is.

    Heavy tails, blocks that differ and neighbouring groups that go together: what a test must survive.
    """
    draw = draw or (lambda size: rng.standard_t(4, size))
    evidence = draw((2 * blocks, CLASSES, GROUPS + 1))
    evidence = evidence[..., 1:] + 0.7 * evidence[..., :-1]
    evidence += np.repeat(rng.normal(size=(blocks, 1, GROUPS)), 2, axis=0)
    importance = evidence - evidence.mean(axis=1, keepdims=True)
    treated = np.tile([True, False], blocks)
    return importance, treated, np.repeat(np.arange(blocks), 2)


def result(values, treated, block, permutations=199, seed=0, confidence=0.95):
    flat = values.reshape(len(values), -1)
    return blocked_difference(flat, treated, block, confidence=confidence, permutations=permutations, seed=seed)


def shuffled(rng, treated, block):
    return treated[np.argsort(block + rng.random(len(block)))]


def test_no_more_false_claims_than_one_field_in_twenty():
    """1,000 label shuffles within blocks: the 95 % interval of the family-wise error rate holds 0.05."""
    rng = np.random.default_rng(11)
    values, treated, block = trial(rng)
    false = sum(
        result(values, shuffled(rng, treated, block), block, seed=seed).p_adjusted.min() <= 0.05 for seed in range(1000)
    )
    interval = stats.binomtest(false, 1000).proportion_ci(0.95)
    assert interval.low <= 0.05 <= interval.high


@pytest.mark.parametrize(("stressed", "power"), [((9, 10, 11), 0.8)])
def test_a_planted_difference_of_one_pooled_standard_deviation_is_found(stressed, power):
    """On as many plots as the demo has of two classes (60), in a stress of 300 nm in the treatment's own curve."""
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(1000 + seed)
        values, treated, block = trial(rng, draw=lambda size, rng=rng: rng.normal(size=size))
        planted(values, treated, stressed)
        p = result(values, treated, block, seed=seed).p_adjusted.reshape(CLASSES, GROUPS)
        found += bool((p[0, list(stressed)] <= 0.05).any())
    assert found / 100 >= power


def planted(values, treated, groups):
    """Raise the treatment's own class by its pooled standard deviation, the other classes by what is left of zero."""
    for group in groups:
        own = values[:, 0, group]
        pooled = np.sqrt((own[treated].var(ddof=1) + own[~treated].var(ddof=1)) / 2)
        shift = np.full(CLASSES, -pooled / (CLASSES - 1))
        shift[0] = pooled
        values[np.ix_(treated, np.arange(CLASSES), [group])] += shift[:, None]


def test_in_complete_blocks_it_is_the_paired_difference():
    rng = np.random.default_rng(3)
    values, treated, block = trial(rng, blocks=8)
    found = result(values, treated, block)
    flat = values.reshape(16, -1)
    paired = stats.ttest_rel(flat[treated], flat[~treated])
    interval = paired.confidence_interval(0.95)
    np.testing.assert_allclose(found.difference, (flat[treated] - flat[~treated]).mean(axis=0))
    np.testing.assert_allclose(found.lo, interval.low)
    np.testing.assert_allclose(found.hi, interval.high)


def test_incomplete_blocks_are_least_squares_with_an_effect_of_each_block():
    rng = np.random.default_rng(4)
    block = np.repeat([0, 1, 2, 3], [2, 5, 3, 4])
    treated = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1], dtype=bool)
    values = rng.normal(size=(14, 3)) + 10.0 * block[:, None]
    found = result(values, treated, block)
    design = np.column_stack([treated, block[:, None] == np.arange(4)]).astype(float)
    fitted, rest, *_ = np.linalg.lstsq(design, values)
    error = np.sqrt(rest / (14 - 5) * np.linalg.inv(design.T @ design)[0, 0])
    np.testing.assert_allclose(found.difference, fitted[0])
    np.testing.assert_allclose(found.hi - found.difference, stats.t.ppf(0.975, 9) * error)


def test_the_p_value_of_few_blocks_is_that_of_all_exchanges():
    """Five pairs have 32 exchanges; the largest difference is reached by itself and its mirror."""
    values = np.array([[5.0, 0.0], [4.0, 0.1], [6.0, 0.2], [5.5, 0.0], [4.5, -0.1]]).reshape(10, 1)
    found = result(values, np.tile([True, False], 5), np.repeat(np.arange(5), 2), permutations=20_000)
    assert found.p_adjusted[0] == pytest.approx(2 / 32, abs=0.01)


def test_a_column_without_any_difference_is_never_claimed():
    rng = np.random.default_rng(6)
    values, treated, block = trial(rng, blocks=6)
    flat = values.reshape(12, -1)
    flat[:, 5] = 0.0
    found = result(flat, treated, block)
    assert found.p_adjusted[5] == 1.0
    assert found.difference[5] == found.lo[5] == found.hi[5] == 0.0
    assert all(np.isfinite(part).all() for part in found)


@settings(max_examples=15)
@given(shift=st.floats(-1e3, 1e3), scale=st.floats(1e-2, 1e2), seed=st.integers(0, 50))
def test_units_levels_of_blocks_and_the_order_of_plots_do_not_matter(shift, scale, seed):
    rng = np.random.default_rng(seed)
    values, treated, block = trial(rng, blocks=7)
    flat = values.reshape(14, -1)
    before = result(flat, treated, block)
    turned = rng.permutation(7)[block]
    after = result(scale * flat + shift * rng.normal(size=7)[block][:, None], treated, block)
    np.testing.assert_allclose(after.difference, scale * before.difference, rtol=1e-6, atol=1e-9 * abs(shift))
    np.testing.assert_allclose(after.p_adjusted, before.p_adjusted)
    named = result(flat, treated, turned)
    np.testing.assert_allclose(named.difference, before.difference, atol=1e-12)


def test_adjusted_values_grow_with_the_plain_ones_and_with_the_family():
    rng = np.random.default_rng(8)
    values, treated, block = trial(rng)
    flat = values.reshape(len(values), -1)
    flat[treated, 0] += 2.0
    whole, alone = result(flat, treated, block), result(flat[:, :5], treated, block)
    t = np.abs(whole.difference) / (whole.hi - whole.difference)
    assert (np.diff(whole.p_adjusted[np.argsort(-t)]) >= 0.0).all()
    assert (whole.p_adjusted[:5] >= alone.p_adjusted).all()
