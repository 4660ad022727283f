import numpy as np
import pytest
from scipy import stats

from focus_core.metrics import student_interval


def test_it_is_the_interval_of_scipys_t_test():
    values = np.random.default_rng(0).normal(1.0, 2.0, (7, 2, 3))
    lo, hi = student_interval(values, level=0.9)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    np.testing.assert_allclose(lo, wanted.low)
    np.testing.assert_allclose(hi, wanted.high)


def test_it_covers_the_mean_as_often_as_it_says_of_a_few_rows():
    rng = np.random.default_rng(3)
    lo, hi = student_interval(rng.normal(1.0, 1.0, (3, 2000)))
    assert 0.94 <= ((lo <= 1.0) & (hi >= 1.0)).mean() <= 0.96


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_rows_have_no_interval(count):
    assert np.isnan(student_interval(np.zeros((count, 4)))).all()
