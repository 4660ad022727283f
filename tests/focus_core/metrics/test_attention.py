import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import entropy

from focus_core.errors import SettingsError
from focus_core.metrics import (
    Collapse,
    attention_collapse,
    attention_share,
    collapse_reduction,
    effective_support,
    has_collapse,
    sink_rate,
    uniform_share,
)

KEYS = 10
SINK = np.arange(KEYS) == KEYS - 1
CLS = np.arange(KEYS) == 0
BACKGROUND = np.isin(np.arange(KEYS), [3, 4])
PATCHES = ~(SINK | CLS | BACKGROUND)

ROWS = hnp.arrays(np.float64, (3, KEYS), elements=st.floats(-8, 8)).map(lambda logits: softmax(logits, axis=-1))


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_shares_of_all_kinds_sum_to_one_and_the_sink_cancels(attention):
    kinds = (CLS, BACKGROUND, PATCHES)
    raw = [attention_share(attention, keys, sink=SINK) for keys in kinds]
    kept = [attention_share(attention, keys, sink=SINK, renormalise=True) for keys in kinds]
    sink = attention_share(attention, SINK, sink=SINK)
    np.testing.assert_allclose(sum(raw) + sink, 1)
    np.testing.assert_allclose(sum(kept), 1)
    np.testing.assert_allclose(kept[0] * (1 - sink), raw[0])


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_a_sink_without_a_column_gives_the_same_shares(attention):
    with_column = attention_collapse(attention, {"cls": CLS}, sink=SINK)
    without = attention_collapse(attention[:, ~SINK], {"cls": CLS[~SINK]})
    np.testing.assert_allclose(with_column["cls"], without["cls"])


def test_uniform_attention_is_no_collapse_and_equals_its_own_yardstick():
    attention = np.full((2, KEYS), 1 / KEYS)
    found = attention_collapse(attention, {"cls": CLS, "background": BACKGROUND}, sink=SINK)
    assert found["cls"].renormalised == pytest.approx(found["cls"].uniform) == pytest.approx(1 / 9)
    assert found["background"].renormalised == pytest.approx(2 / 9)
    assert found["cls"].raw == pytest.approx(1 / 10)
    assert not found["cls"].has_collapse
    assert not found["background"].has_collapse


def test_a_planted_collapse_is_seen_through_a_sink_that_hides_it_in_raw_shares():
    row = np.full(KEYS, 0.01)
    row[0], row[-1] = 0.12, 0.80
    found = attention_collapse(row[None], {"cls": CLS}, sink=SINK)["cls"]
    assert found.raw == pytest.approx(0.12)
    assert found.renormalised == pytest.approx(0.6)
    assert found.has_collapse


def test_kinds_may_differ_between_tiles_and_tiles_without_them_are_left_out():
    attention = np.full((2, 3, 4, KEYS), 1 / KEYS)
    attention[0, ..., 3] += 0.05
    attention[0, ..., 5] -= 0.05
    background = np.stack([BACKGROUND, np.zeros(KEYS, bool)])[:, None, None]
    share = attention_share(attention, background)
    assert share.shape == (2, 3, 4)
    np.testing.assert_allclose(share[0], 0.25)
    assert np.isnan(share[1]).all()
    found = attention_collapse(attention, {"background": background})["background"]
    assert found == pytest.approx(Collapse(0.25, 0.25, 0.2))


def test_a_kind_that_no_tile_has_is_not_applicable():
    found = attention_collapse(np.full((2, KEYS), 0.1), {"register": np.zeros(KEYS, bool)})["register"]
    assert np.isnan(found).all()
    assert not found.has_collapse


def test_a_row_wholly_on_the_sink_has_no_share_left():
    attention = SINK[None].astype(float)
    assert attention_share(attention, CLS, sink=SINK) == 0
    assert np.isnan(attention_share(attention, CLS, sink=SINK, renormalise=True)).all()
    assert np.isnan(effective_support(attention, sink=SINK)).all()
    assert uniform_share(CLS, sink=SINK) == pytest.approx(1 / 9)


@pytest.mark.parametrize(("share", "verdict"), [(0.2, False), (0.21, True), (float("nan"), False)])
def test_the_verdict_needs_more_than_twice_uniform(share, verdict):
    assert has_collapse(share, 0.1) is verdict


def test_reduction_is_relative_to_the_baseline():
    assert collapse_reduction(0.5, 0.3) == pytest.approx(0.4)
    assert collapse_reduction(0.5, 0.6) < 0
    assert np.isnan(collapse_reduction(0.0, 0.1))
    assert np.isnan(collapse_reduction(float("nan"), 0.1))


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_effective_support_is_the_exponential_of_scipys_entropy(attention):
    expected = np.exp(entropy(attention, axis=-1)) / KEYS
    np.testing.assert_allclose(effective_support(attention), expected)
    assert (effective_support(attention) <= 1 + 1e-12).all()


def test_effective_support_of_one_token_and_of_all():
    assert effective_support(np.eye(KEYS)[0]) == pytest.approx(1 / KEYS)
    assert effective_support(np.full(KEYS, 1 / KEYS)) == pytest.approx(1)


def test_sink_rate_counts_heads_and_spares_the_learned_sink():
    attention = np.full((2, 3, 5, KEYS), 1 / KEYS)
    attention[0, 1] = 0.06
    attention[0, 1, :, 2] = 0.46
    attention[1, 2] = 0.04
    attention[1, 2, :, -1] = 0.64
    assert sink_rate(attention) == pytest.approx(2 / 6)
    assert sink_rate(attention, sink=SINK) == pytest.approx(1 / 6)
    assert sink_rate(attention, sink=SINK, threshold=0.5) == 0


@pytest.mark.parametrize("function", [effective_support, lambda rows: attention_share(rows, CLS)])
def test_attention_before_the_softmax_or_summed_over_heads_is_refused(function):
    with pytest.raises(SettingsError, match="after the softmax"):
        function(np.full((2, KEYS), -1.0))
    with pytest.raises(SettingsError, match="after the softmax"):
        function(np.full((2, KEYS), np.nan))
    with pytest.raises(SettingsError, match="at most 1, found 4"):
        function(np.full((2, KEYS), 0.4))
