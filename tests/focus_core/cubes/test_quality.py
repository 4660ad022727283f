import re

import numpy as np
import pytest

from focus_core.cubes.quality import judge_bands, signal_to_noise
from focus_core.errors import CubeError

BANDS = 30
NM = np.linspace(400.0, 2500.0, BANDS)
ALL = np.ones(BANDS, dtype=bool)


def scene(noise: np.ndarray, level: float = 0.3, contrast: float = 0.2) -> np.ndarray:
    """Lines ``(line, band, x)`` of a smooth spectrum with texture that all bands share, plus noise."""
    rng = np.random.default_rng(0)
    texture = 1.0 + contrast * np.cumsum(rng.standard_normal((40, 1, 60)), axis=2) / 8
    spectrum = level * (1.0 + 0.3 * np.sin(np.arange(BANDS) / 4))[None, :, None]
    return (spectrum * texture + noise[None, :, None] * rng.standard_normal((40, BANDS, 60))).astype(np.float32)


@pytest.mark.parametrize("contrast", [0.0, 0.2])
def test_planted_noise_is_estimated_with_and_without_texture(contrast: float) -> None:
    noise = np.full(BANDS, 0.01)
    sample = scene(noise, contrast=contrast)
    found = signal_to_noise(sample, usable=ALL)
    expected = sample.mean(axis=(0, 2)) / noise
    # Noise of the neighbouring bands enters the prediction, so the estimate is a little low.
    assert (found < 1.05 * expected).all()
    assert (found > 0.6 * expected).all()


def test_a_dark_window_is_found_and_nothing_else() -> None:
    noise = np.full(BANDS, 0.005)
    noise[12:16] = 0.4
    found = judge_bands(scene(noise), NM, ALL, [])
    assert np.flatnonzero(~found.good).tolist() == [12, 13, 14, 15]
    assert all(re.match(r"noise( in the water.* nm)?: signal-to-noise", found.reason[band]) for band in range(12, 16))


def test_noise_in_a_water_vapour_window_is_said_to_lie_there_and_a_quiet_band_stays() -> None:
    noise = np.full(BANDS, 0.005)
    nm = np.array([1339.0, 1340.0, 1380.0, 1445.0, 1446.0, 1789.0, 1790.0, 1955.0, 1956.0])
    at = np.searchsorted(NM, 1300.0)
    wavelength = np.concatenate([NM[:at], nm, np.linspace(2000.0, 2500.0, BANDS - at - len(nm))])
    noise[at : at + len(nm)] = 0.4
    noise[at + 2] = 0.005
    found = judge_bands(scene(noise), wavelength, ALL, [])
    said = [found.reason[at + place].split(":")[0] for place in range(len(nm))]
    first, second = (f"noise in the water-vapour window {window} nm" for window in ("1340-1445", "1790-1955"))
    assert said == ["noise", first, "", first, "noise", "noise", second, second, "noise"]
    assert re.fullmatch(rf"{first}: signal-to-noise \d\.\d below 4", found.reason[at + 1])
    quiet = judge_bands(scene(np.full(BANDS, 0.005)), wavelength, ALL, [])
    assert quiet.good.all()


def test_every_reason_is_recorded() -> None:
    sample = scene(np.full(BANDS, 0.005))
    sample[:, 3] = np.nan
    sample[:5, 4] = np.nan
    sample[0, 5, :20] = np.nan
    declared = ALL.copy()
    declared[7] = False
    found = judge_bands(sample, NM, declared, [(NM[20] - 1, NM[21] + 1)])
    assert np.flatnonzero(~found.good).tolist() == [3, 4, 7, 20, 21]
    assert found.reason[3] == "no pixel measured"
    assert found.reason[4] == "12% of pixels missing"
    assert found.reason[7] == "bad-band list of the file"
    assert found.reason[20].startswith("declared bad in the campaign file")
    assert found.reason[5] == ""


def test_a_gap_between_files_is_no_fault_of_the_bands() -> None:
    sample = scene(np.full(BANDS, 0.005))
    sample[:, :, :30] = np.nan
    assert judge_bands(sample, NM, ALL, []).good.all()


def test_no_band_left_is_refused() -> None:
    with pytest.raises(CubeError, match=r"all 30 bands are bad \(no pixel measured"):
        judge_bands(np.full((4, BANDS, 5), np.nan, np.float32), NM, ALL, [])


def test_constant_scene_has_no_noise() -> None:
    assert judge_bands(np.full((20, BANDS, 20), 0.3, np.float32), NM, ALL, []).good.all()
