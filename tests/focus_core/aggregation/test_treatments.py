import numpy as np
import pytest
import xarray as xr
from scipy import stats

from focus_core.aggregation.treatments import treatment_intervals

CLASSES = ("control", "drought", "disease")


@pytest.fixture
def importance():
    values = np.random.default_rng(2).normal(size=(9, 3, 4))
    values[8] = np.nan  # a plot that no window shows
    return xr.DataArray(values, dims=("plot", "cls", "group"), coords={"cls": list(CLASSES)}).chunk({"plot": 3})


LABEL = np.array([0, 0, 0, 0, 1, 1, 2, -1, 0])
COUNTED = np.array([True, True, True, False, True, True, True, True, False])


def test_a_treatments_interval_is_students_over_its_plots(importance):
    found = treatment_intervals(importance, COUNTED, LABEL, confidence=0.9).compute()
    for name, rows in (("control", [0, 1, 2]), ("drought", [4, 5])):
        own, values = found.sel(treatment=name), importance.to_numpy()[rows]
        np.testing.assert_allclose(own["treatment_mean"], values.mean(axis=0))
        half = stats.t.ppf(0.95, len(rows) - 1) * stats.sem(values, axis=0)
        np.testing.assert_allclose(own["treatment_hi"] - own["treatment_mean"], half)
        np.testing.assert_allclose(own["treatment_mean"] - own["treatment_lo"], half)
    assert found["treatment_plots"].to_numpy().tolist() == [3, 2, 1]


def test_one_plot_has_a_mean_and_no_interval_and_none_has_neither(importance):
    alone = treatment_intervals(importance, COUNTED, LABEL, confidence=0.9).compute().sel(treatment="disease")
    np.testing.assert_allclose(alone["treatment_mean"], importance.to_numpy()[6])
    assert np.isnan(alone["treatment_lo"]).all()
    nobody = treatment_intervals(importance, COUNTED & False, LABEL, confidence=0.9).compute()
    assert np.isnan(nobody["treatment_mean"]).all()
    assert (nobody["treatment_plots"] == 0).all()
