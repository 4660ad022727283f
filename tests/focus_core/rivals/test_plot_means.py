import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_core.errors import SettingsError
from focus_core.rivals import forest_permutation, pls_vip

PLANTED = {1: slice(6, 9), 2: slice(15, 18)}


def spectra_of(plots: int = 48, bands: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Class 1 differs in bands 6-8, class 2 in bands 15-17; every plot has a brightness of its own."""
    generator = np.random.default_rng(seed)
    label = np.arange(plots) % 3
    spectra = 0.3 + 0.01 * generator.standard_normal((plots, bands)) + 0.005 * generator.standard_normal((plots, 1))
    spectra[label == 1, PLANTED[1]] -= 0.05
    spectra[label == 2, PLANTED[2]] += 0.05
    return spectra, label


def test_vip_of_one_component_is_the_hand_calculation() -> None:
    """With one component the weights are the correlations' direction, so VIP² is p times the squared weight."""
    generator = np.random.default_rng(1)
    label = np.array([0, 0, 1, 1])
    spectra = 0.3 + 0.1 * generator.standard_normal((4, 5))
    standard = (spectra - spectra.mean(axis=0)) / spectra.std(axis=0, ddof=1)
    covariance = standard.T @ (label - label.mean())
    wanted = np.sqrt(5 * np.square(covariance) / np.square(covariance).sum())
    np.testing.assert_allclose(pls_vip(spectra, label, 2)[1], wanted, rtol=1e-6)  # four plots leave one component


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_mean_square_of_vip_is_one(seed: int) -> None:
    vip = pls_vip(*spectra_of(24, 12, seed), 3, reference=0)
    np.testing.assert_allclose(np.square(vip).mean(axis=1), 1.0)


def test_vip_finds_the_planted_bands() -> None:
    vip = pls_vip(*spectra_of(), 3, reference=0)
    for index, bands in PLANTED.items():
        assert set(np.argsort(vip[index])[-3:]) == set(range(24)[bands])


def test_against_a_reference_class_the_bands_of_a_third_class_say_nothing() -> None:
    spectra, label = spectra_of()
    against_rest, against_reference = (pls_vip(spectra, label, 3, reference=reference)[1] for reference in (None, 0))
    assert against_reference[PLANTED[2]].max() < 1.0 < against_reference[PLANTED[1]].min()
    assert against_rest[PLANTED[2]].mean() > against_reference[PLANTED[2]].mean()


def test_permutation_finds_the_planted_bands_and_the_same_seed_gives_the_same_curve() -> None:
    spectra, label = spectra_of(bands=18, plots=48)
    found = forest_permutation(spectra, label, 3, seed=3)
    for index, bands in PLANTED.items():
        inside = np.zeros(18, dtype=bool)
        inside[bands] = True
        assert found[index, inside].sum() > 5 * np.abs(found[index, ~inside]).sum()
    np.testing.assert_array_equal(found[1:2], forest_permutation(spectra, label, 3, seed=3)[1:2])


def test_a_copied_band_splits_permutation_importance_as_the_read_out_says() -> None:
    spectra, label = spectra_of(bands=8)
    twice = np.concatenate([spectra, spectra[:, 6:8], spectra[:, 6:8]], axis=1)
    alone, split = (forest_permutation(given, label, 3, seed=3)[1, 6:8].sum() for given in (spectra, twice))
    assert split < 0.7 * alone


def test_a_band_that_is_nan_in_any_plot_is_left_out() -> None:
    spectra, label = spectra_of(bands=18)
    spectra[3, 2] = np.nan
    whole = np.delete(spectra, 2, axis=1)
    for curves, without in (
        (pls_vip(spectra, label, 3), pls_vip(whole, label, 3)),
        (forest_permutation(spectra, label, 3, seed=1), forest_permutation(whole, label, 3, seed=1)),
    ):
        assert np.isnan(curves[:, 2]).all()
        np.testing.assert_array_equal(np.delete(curves, 2, axis=1), without)


def test_too_few_plots_and_spectra_without_a_band_are_refused() -> None:
    spectra, label = spectra_of(bands=18)
    with pytest.raises(SettingsError, match="a class has 0 plots"):
        pls_vip(spectra, label, 4)
    with pytest.raises(SettingsError, match="every band is NaN"):
        forest_permutation(np.full_like(spectra, np.nan), label, 3, seed=1)
