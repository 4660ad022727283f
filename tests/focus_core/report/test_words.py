import dataclasses

import numpy as np

from focus_core.report.curves import Curve
from focus_core.report.words import attention_of, metric_rows, strongest_groups
from tests.focus_core.report.test_curves import flight


def test_an_interval_stands_beside_its_value_and_folds_are_told_apart():
    rows = metric_rows(
        {"test.balanced_accuracy": 0.9, "test.balanced_accuracy.lo": 0.8, "test.balanced_accuracy.hi": 1.0,
         "gate.band_iou.drought": 0.5, "test.importance.drought.nir": 0.4, "cost.time_ratio": 1.0, "flight.lo": 2.0}
    )  # fmt: skip
    assert [(row.fold, row.name, row.about, row.lo) for row in rows] == [
        ("test", "balanced_accuracy", "", 0.8),
        ("gate", "band_iou", "drought", None),
        ("", "cost.time_ratio", "", None),
        ("", "flight", "lo", None),
    ]
    assert all(row.meaning for row in rows[:3])


def test_attention_is_told_of_test_plots_and_of_none_without_all_its_figures():
    names = ("sink_share", "background_attention", "prefix_attention", "prefix_attention_uniform", "collapse")
    metrics = {f"{fold}.{name}": value for fold, value in (("gate", 0.1), ("test", 0.2)) for name in names}
    assert (attention_of(metrics).fold, attention_of(metrics).sink_share) == ("test", 0.2)
    del metrics["test.collapse"]
    assert attention_of(metrics).fold == "gate"
    assert attention_of({}) is None
    assert all(row.meaning for row in metric_rows(metrics))


def test_the_strongest_groups_come_first_whatever_their_sign_and_are_sure_only_away_from_zero():
    curve = Curve(
        name="drought", plots=4, trained=0, mean=np.array([0.01, -0.02]), lo=np.array([-0.01, -0.03]),
        hi=np.array([0.03, -0.01]),
    )  # fmt: skip
    found = strongest_groups([curve], flight())["drought"]
    assert [(group.name, group.sure) for group in found] == [("b", True), ("a", False)]
    assert found[0].importance == -4.0
    assert found[1].nm == "500–600 nm"
    assert found[1].named
    plain = dataclasses.replace(flight(), groups=("500-600", "700-900"))
    assert not any(group.named for group in strongest_groups([curve], plain)["drought"])
