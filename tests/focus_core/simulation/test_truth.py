from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from focus_core.simulation.flight import within
from focus_core.simulation.layout import CLASSES
from focus_core.simulation.truth import Moments, Truth


def test_effect_size_is_the_planted_one_also_when_summed_in_parts():
    rng = np.random.default_rng(0)
    shift = np.array([0.0, 1.0, 2.0])
    values = 0.3 + 0.05 * rng.standard_normal((4, 3, 60, 60)).astype(np.float32)
    values[1] += 0.05 * shift[:, None, None]
    moments = Moments(3)
    for index in range(4):
        for half in (slice(0, 20), slice(20, 60)):
            scene = np.moveaxis(values[index][:, half], 0, 1)
            pixels = np.zeros((4, scene.shape[0], scene.shape[2]), bool)
            pixels[index] = True
            moments.add(scene, pixels)
    found = moments.effect_size()
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], shift, atol=0.08)
    np.testing.assert_allclose(found[2:], 0.0, atol=0.08)


def test_a_class_without_pixels_has_no_reference():
    moments = Moments(2)
    moments.add(np.full((1, 2, 4), 0.3, np.float32), np.eye(4, dtype=bool)[:, None, :] & False)
    truth = Truth(np.array([500.0, 510.0]), moments.effect_size(), np.ones(2, bool))
    assert not truth.reference().any()
    assert truth.ranges_nm() == {}


@given(
    arrays(np.float64, (4, 30), elements=st.floats(0.0, 5.0)),
    arrays(np.bool_, 30),
    arrays(np.float64, 30, elements=st.floats(2.0, 40.0)),
)
def test_ranges_select_exactly_the_reference_bands(effect, eligible, steps):
    truth = Truth(400.0 + np.cumsum(steps), effect, eligible)
    ranges = truth.ranges_nm()
    for name, expected in zip(CLASSES, truth.reference(), strict=True):
        pairs = tuple((lo, hi) for lo, hi in ranges.get(name, []))
        np.testing.assert_array_equal(within(truth.wavelength, pairs), expected)
        assert not expected[~eligible].any()


def test_reference_bands_have_at_least_half_the_largest_eligible_effect():
    effect = np.array([[np.nan] * 4, [4.0, 2.0, 0.9, 1.0], [0.0, 1.0, 0.5, 0.4], [0.0] * 4])
    truth = Truth(np.arange(4) * 10.0 + 500.0, effect, np.array([False, True, True, True]))
    assert truth.reference()[1].tolist() == [False, True, False, True]
    assert truth.reference()[2].tolist() == [False, True, True, False]
    assert not truth.reference()[3].any()
