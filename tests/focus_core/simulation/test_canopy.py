from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_core.errors import SettingsError
from focus_core.simulation.canopy import NM, NODES, CanopyTable, canopy_spectra, soil_spectra
from focus_core.simulation.flight import within

HEALTHY = {"chlorophyll": 42.0, "water": 0.013, "brown": 0.08, "lai": 3.2, "thickness": 0.5}


def spectrum(**changed: float) -> np.ndarray:
    traits = {name: np.array([value]) for name, value in (HEALTHY | changed).items()}
    return CanopyTable(canopy_spectra(31.0)).reflectance(traits)[0]


@pytest.fixture(autouse=True)
def _needs_prosail() -> None:
    pytest.importorskip("prosail", reason="needs the extra 'demo'")


def between(lo: float, hi: float) -> np.ndarray:
    return within(NM, ((lo, hi),))


def test_low_chlorophyll_brightens_the_visible_and_the_red_edge_only():
    change = spectrum(chlorophyll=15.0) - spectrum()
    assert change[between(500, 730)].mean() > 0.03
    assert np.abs(change[between(800, 2500)]).max() < 1e-4


def test_low_water_brightens_the_shortwave_infrared_only():
    change = spectrum(water=0.005) - spectrum()
    assert change[between(1450, 1800)].min() > 0.02
    assert change[between(1950, 2400)].mean() > 0.02
    assert np.abs(change[between(400, 850)]).max() < 2e-3


def test_brown_pigment_darkens_the_near_infrared_shoulder():
    change = spectrum(brown=0.6) - spectrum()
    assert change[between(740, 820)].max() < -0.03
    assert np.abs(change[between(1500, 2500)]).max() < 2e-3


def test_a_node_is_returned_as_it_is():
    corner = {name: np.array([nodes[-1]]) for name, nodes in NODES.items()}
    table = CanopyTable(canopy_spectra(31.0))
    np.testing.assert_allclose(table.reflectance(corner)[0], table.nodes[-1], rtol=1e-6)


def test_interpolation_is_close_to_the_model_itself():
    import prosail

    direct = prosail.run_prosail(
        1.6, 30.0, 7.1, 0.25, 0.008, 0.0085, 3.1, -0.35, 0.01, 31.0, 0.0, 0.0,
        ant=1.0, prospect_version="D", typelidf=1, lidfb=-0.15, rsoil=1.0, psoil=0.5,
    )  # fmt: skip
    found = spectrum(chlorophyll=30.0, brown=0.25, water=0.008, lai=3.1)
    assert np.sqrt(np.mean((found - direct) ** 2)) < 0.01


@given(st.fixed_dictionaries({name: st.floats(0.2 * nodes[0] - 0.1, 2.0 * nodes[-1]) for name, nodes in NODES.items()}))
def test_weights_of_the_nodes_add_up_to_one_inside_and_outside_of_them(traits):
    ones = CanopyTable(np.ones((int(np.prod([len(nodes) for nodes in NODES.values()])), 1), np.float32))
    found = ones.reflectance({name: np.array([value]) for name, value in traits.items()})
    np.testing.assert_allclose(found, 1.0, rtol=1e-5)


def test_dry_soil_is_brighter_than_wet_soil():
    dry, wet = soil_spectra()
    assert (dry[between(450, 2300)] > wet[between(450, 2300)]).all()


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "prosail", None)
    with pytest.raises(SettingsError, match=r"pip install 'focus-core\[demo\]'"):
        canopy_spectra(12.5)
