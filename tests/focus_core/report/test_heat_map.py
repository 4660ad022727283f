import numpy as np

from focus_core.report.heat_map import importance_map, sink_map
from tests.focus_core.aggregation.small_field import CLASSES
from tests.focus_core.report.test_curves import flight


def test_a_row_is_a_plot_and_its_colour_what_its_class_says():
    per_nm = np.random.default_rng(0).normal(size=(6, 3, 2))
    (heat,) = importance_map(flight(per_nm=per_nm)).data
    order = [0, 3, 1, 4, 2, 5]  # by class
    assert [row[0] for row in heat.text] == [f"P{plot}, {CLASSES[plot % 3]}" for plot in order]
    wanted = [[per_nm[plot, plot % 3, group] for group in (0, 1)] for plot in order]
    np.testing.assert_allclose([[row[0], row[2]] for row in heat.z], wanted, rtol=5e-3)
    assert heat.zmin == -heat.zmax < 0


def test_a_cell_is_as_wide_as_its_group_and_a_gap_is_empty():
    (heat,) = importance_map(flight()).data
    assert list(heat.x) == [500.0, 600.0, 700.0, 900.0]
    assert all(row[1] is None for row in heat.z)


def test_a_class_is_named_at_the_middle_of_its_plots_with_a_line_between_classes():
    figure = importance_map(flight(5))
    assert list(figure.layout.yaxis.ticktext) == list(CLASSES)
    assert list(figure.layout.yaxis.tickvals) == [0.5, 2.5, 4.0]
    assert [shape.y0 for shape in figure.layout.shapes] == [1.5, 3.5]


def test_a_plot_of_unknown_class_stands_under_the_predicted_one():
    predicted = np.zeros((6, 3))
    predicted[:, 2] = 1.0
    (heat,) = importance_map(flight(label=("control", "", "", "", "", ""), probability=predicted)).data
    assert [row[0] for row in heat.text] == ["P0, control", *(f"P{plot}, drought" for plot in range(1, 6))]


def test_one_odd_plot_does_not_fade_the_others():
    per_nm = np.ones((60, 3, 2))
    per_nm[0] = 1000.0
    (heat,) = importance_map(flight(60, per_nm=per_nm)).data
    assert heat.zmax == 1.0


def test_the_sink_is_shown_by_class_over_its_own_plots():
    share = np.zeros((6, 3, 2))
    share[1, 1], share[4, 1] = 0.2, 0.36
    (heat,) = sink_map(flight(sink_share=share)).data
    assert [row[0] for row in heat.text] == list(CLASSES)
    np.testing.assert_allclose([[row[0], row[2]] for row in heat.z], [[0, 0], [0.28, 0.28], [0, 0]])
    assert (heat.zmin, heat.zmax) == (0.0, 0.3)
    assert sink_map(flight()).data[0].zmax == 0.1
    (few,) = sink_map(flight(2)).data
    assert [row[0] for row in few.text] == ["control", "low_nitrogen"]


def test_texts_from_files_are_escaped_where_plotly_reads_html():
    (heat,) = importance_map(flight(2, plots=("<a href=x>", "P&1"))).data
    assert [row[0] for row in heat.text] == ["&lt;a href=x&gt;, control", "P&amp;1, low_nitrogen"]
