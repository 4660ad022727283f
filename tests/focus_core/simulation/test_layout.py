from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon, box

from focus_core.config import SimulateSettings
from focus_core.simulation.layout import CLASSES, draw_layout

FIELDS = st.builds(
    SimulateSettings,
    blocks=st.integers(1, 12),
    plot_px=st.integers(8, 40),
    buffer_px=st.integers(1, 8),
    rotation_deg=st.floats(-20.0, 20.0),
)


def drawn(settings: SimulateSettings):
    return draw_layout(settings, np.random.default_rng(settings.seed))


def test_the_default_trial_has_at_least_96_plots():
    assert len(drawn(SimulateSettings()).plots) >= 96


@given(FIELDS)
def test_blocks_are_complete_and_names_unique(settings):
    plots = drawn(settings).plots
    blocks = {plot.block for plot in plots}
    assert len(blocks) == settings.blocks
    for block in blocks:
        assert sorted(plot.label for plot in plots if plot.block == block) == list(range(len(CLASSES)))
    assert len({plot.name for plot in plots}) == len(plots)


def test_the_order_of_classes_differs_between_blocks():
    plots = drawn(SimulateSettings()).plots
    orders = {tuple(plot.label for plot in plots[start : start + 4]) for start in range(0, len(plots), 4)}
    assert len(orders) > 5


@given(FIELDS)
def test_plots_keep_their_distance_and_the_grid_holds_them_all(settings):
    layout = drawn(settings)
    grid = layout.grid(east_px=2.3, north_px=-1.6)
    west, north = grid.transform @ (0, 0)
    east, south = grid.transform @ (grid.samples, grid.lines)
    image = box(west, south, east, north)
    shapes = [Polygon(layout.outline(plot)) for plot in layout.plots]
    assert all(image.contains(shape) for shape in shapes)
    gaps = [shapes[0].distance(shape) for shape in shapes[1:]]
    assert min(gaps) >= settings.buffer_px * settings.pixel_m * (1 - 1e-6)


@given(FIELDS, st.floats(-50, 500), st.floats(-50, 500))
def test_map_and_field_are_inverse(settings, u, v):
    layout = drawn(settings)
    back = layout.to_field(*layout.to_map(np.array([u]), np.array([v])))
    np.testing.assert_allclose(np.concatenate(back), [u, v], atol=1e-6)
