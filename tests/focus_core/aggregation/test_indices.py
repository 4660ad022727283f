import numpy as np
import pytest
import xarray as xr

from focus_core.aggregation.indices import INDICES, vegetation_indices
from focus_core.errors import SettingsError

NM = np.arange(500.0, 1700.0, 5.0)


def spectra(nm=NM, good=None, quantity="reflectance", plots=3):
    """Mean spectra that differ by plot, without two equal bands."""
    rng = np.random.default_rng(2)
    mean = 0.05 + 0.4 * rng.random((plots, len(nm)))
    return xr.Dataset(
        {"mean": (("plot", "band"), mean)},
        coords={
            "plot": [f"P{n}" for n in range(plots)],
            "wavelength": ("band", nm),
            "good_band": ("band", np.ones(len(nm), dtype=bool) if good is None else good),
        },
        attrs={"quantity": quantity},
    )


def at(data, nm):
    return data["mean"].to_numpy()[:, np.abs(NM - nm).argmin()]


def found(data, name, tolerance_nm=10.0):
    result = vegetation_indices(data, names=[name], tolerance_nm=tolerance_nm)
    return result["vegetation_index"].to_numpy()[:, 0], str(result["index_bands"].item())


def normalised(one, other):
    return (one - other) / (one + other)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("NDVI", lambda r: normalised(r(800), r(670))),
        ("NDRE", lambda r: normalised(r(790), r(720))),
        ("CIre", lambda r: r(790) / r(715) - 1),
        ("PRI", lambda r: normalised(r(531), r(570))),
        ("NDWI", lambda r: normalised(r(860), r(1240))),
        ("NDII", lambda r: normalised(r(819), r(1649))),
        (
            "MCARI2",
            lambda r: (
                1.5 * (2.5 * (r(800) - r(670)) - 1.3 * (r(800) - r(550)))
                / np.sqrt((2 * r(800) + 1) ** 2 - (6 * r(800) - 5 * np.sqrt(r(670))) - 0.5)
            ),
        ),
    ],
)  # fmt: skip
def test_an_index_is_its_published_formula_at_its_published_wavelengths(name, by_hand):
    data = spectra()
    values, bands = found(data, name)
    np.testing.assert_allclose(values, by_hand(lambda nm: at(data, nm)), rtol=1e-12)
    assert all(f"for {nm:g}" in bands for nm in INDICES[name].nm.values())


def test_the_nearest_good_band_is_taken_within_the_tolerance():
    good = np.ones(len(NM), dtype=bool)
    good[np.abs(NM - 670.0).argmin()] = False
    data = spectra(good=good)
    values, bands = found(data, "NDVI")
    np.testing.assert_allclose(values, normalised(at(data, 800), at(data, 665)), rtol=1e-12)
    assert bands == "800.0 nm for 800, 665.0 nm for 670"
    values, bands = found(data, "NDVI", tolerance_nm=4.0)
    assert np.isnan(values).all()
    assert bands == "no good band within 4 nm of 670 nm"


def test_a_sensor_without_the_wavelengths_gives_nan_and_the_reason():
    values, bands = found(spectra(NM[NM < 1000]), "NDWI")
    assert np.isnan(values).all()
    assert bands == "no good band within 10 nm of 1240 nm"
    values, bands = found(spectra(good=np.zeros(len(NM), dtype=bool)), "NDVI")
    assert np.isnan(values).all()
    assert "no good band" in bands


def test_radiance_has_no_index():
    values, bands = found(spectra(quantity="radiance"), "NDVI")
    assert np.isnan(values).all()
    assert bands == "needs reflectance, the cube holds radiance"


def test_a_plot_without_pixels_or_with_impossible_reflectance_is_nan_alone():
    data = spectra()
    data["mean"][0] = np.nan
    data["mean"][1] = -0.1
    values, _ = found(data, "MCARI2")
    assert np.isfinite(values).tolist() == [False, False, True]


def test_an_unknown_index_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"no indices \['NDVII'\]; known: NDVI, NDRE"):
        vegetation_indices(spectra(), names=["NDVI", "NDVII"], tolerance_nm=10.0)
