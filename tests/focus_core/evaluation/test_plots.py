import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from focus_core.evaluation import class_curves, of_plots


def windows(seed: int, plots: int = 4, cls: int = 3, groups: int = 2) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    count = 3 * plots
    importance = rng.normal(size=(count, cls, groups)).astype(np.float32)
    return xr.Dataset(
        {
            "importance": (("tile", "cls", "group"), importance),
            "logit": (("tile", "cls"), importance.sum(-1) + np.float32(0.25)),
        },
        coords={
            "plot": ("tile", np.array([f"p{index % plots}" for index in range(count)], dtype=object)),
            "label": ("tile", np.arange(count) % plots % cls),
            "coverage": ("tile", rng.uniform(1.0, 9.0, count)),
        },
    )


@given(seed=st.integers(0, 1000))
def test_importance_and_bias_add_up_to_the_logit_of_a_plot(seed: int) -> None:
    plots = of_plots(windows(seed))
    np.testing.assert_allclose(plots.importance.sum(-1) + 0.25, plots.logit, atol=1e-5)
    np.testing.assert_allclose(plots.probability.sum(-1), 1.0)


def test_a_window_without_weight_does_not_count() -> None:
    data = windows(0)
    heavy = data.assign_coords(coverage=("tile", np.where(np.arange(12) < 4, 1.0, 1e-12)))
    np.testing.assert_allclose(of_plots(heavy).logit, data["logit"].to_numpy()[:4], atol=1e-6)


def test_a_curve_is_the_mean_over_plots_of_that_class_split_evenly_over_bands() -> None:
    plots = of_plots(windows(1))
    curves = class_curves(plots, np.array([0, 0, -1, 1]), 3)
    mean = plots.importance[plots.label == 1, 1].mean(axis=0)
    np.testing.assert_allclose(curves[1], [mean[0] / 2, mean[0] / 2, np.nan, mean[1]])


def test_the_curve_of_a_class_without_plots_is_not_a_number() -> None:
    assert np.isnan(class_curves(of_plots(windows(1)), np.array([0, 1]), 4)[3]).all()
