from pathlib import Path

import numpy as np
import pytest

from focus_core.bench import classes
from focus_core.bench.chart import draw_scores
from focus_core.bench.planted import Planted, plant
from focus_core.config import BackboneSettings

MEASURES = ("balanced_accuracy", "accuracy_over_linear_head", "band_iou_of_ceiling", "band_iou_of_ceiling_worst")
COSTS = ("parameters", "training_s", "overhead_time", "epoch_over_focus", "sink_share")
SMALL = classes.Size((80, 20, 40), BackboneSettings(width=24, depth=2, heads=2), pretrain_epochs=1, epochs=5)


def absorption(problem: Planted, cls: int) -> np.ndarray:
    """Fall of each band where the class shows, from where it does not, mean over its test windows."""
    shows = np.repeat(np.repeat(problem.test_mask, 4, axis=1), 4, axis=2)
    mine = np.flatnonzero(problem.test.label.numpy() == cls)
    pixels = problem.test.reflectance.numpy()[mine]
    inside, outside = (shows[mine][:, None] == share for share in (1.0, 0.0))
    means = [(pixels * part).sum(axis=(2, 3)) / part.sum(axis=(2, 3)) for part in (inside, outside)]
    return np.asarray((means[1] - means[0]).mean(axis=0))


def test_each_class_absorbs_in_its_own_ranges_and_nowhere_else() -> None:
    problem = plant(32, windows=(32, 32, 640), seed=0)
    assert len(np.unique(problem.reference, axis=0)) == 32
    assert not problem.reference[0].any()
    assert problem.reference[1:].any(axis=0).sum() > 60  # all 12 ranges, of 4 bands and more
    for cls in (1, 17, 31):
        fall, wanted = absorption(problem, cls), problem.reference[cls]
        assert fall[wanted].min() > 4 * np.abs(fall[~wanted]).max()


def test_the_ranges_are_the_same_for_every_number_of_classes() -> None:
    few, many = (plant(count, windows=(32, 32, 32), seed=3).reference for count in (4, 32))
    edges = [np.flatnonzero(np.diff(reference.any(axis=0).astype(int))) for reference in (few, many)]
    assert set(edges[0]) <= set(edges[1])
    assert not np.array_equal(few[1], many[1])


def test_no_window_is_seen_twice() -> None:
    problem = plant(4, windows=(16, 16, 16), seed=0)
    every = np.concatenate([part.reflectance.numpy() for part in (problem.train, problem.validation, problem.test)])
    assert len(np.unique(every[:, 0, 0, 0])) == 48


@pytest.fixture(scope="module")
def measured() -> dict[str, list[float]]:
    return classes.run([0], classes=(3, 4), size=SMALL)


def test_every_variant_is_measured_at_every_number_of_classes(measured: dict[str, list[float]]) -> None:
    wanted = {
        f"{variant}.{measure}.c{count}"
        for variant in classes.VARIANTS
        for measure in (*MEASURES, *COSTS, "spatial_auc")
        for count in (3, 4)
    }
    assert set(measured) == wanted | {f"linear_head.balanced_accuracy.c{count}" for count in (3, 4)}
    assert all(np.isfinite(found).all() and len(found) == 1 for found in measured.values())


def test_what_is_planted_is_found(measured: dict[str, list[float]]) -> None:
    for variant in classes.VARIANTS:
        assert measured[f"{variant}.band_iou_of_ceiling.c3"][0] > 0.4  # chance is below 0.2
        assert measured[f"{variant}.spatial_auc.c3"][0] > 0.6


def test_free_prompts_cost_what_every_class_and_group_costs(measured: dict[str, list[float]]) -> None:
    # Two blocks of width 24 and 12 groups; shared ones cost a class and a group, free ones their product.
    for count in (3, 4):
        shared, free = (measured[f"{variant}.parameters.c{count}"][0] for variant in ("focus", "free"))
        assert free - shared == 2 * 24 * (12 * count - 12 - count)


def test_the_chart_has_a_panel_for_each_score(measured: dict[str, list[float]], tmp_path: Path) -> None:
    draw_scores(measured, {}, str(tmp_path / "classes.png"), classes.LABELS)
    assert (tmp_path / "classes.png").stat().st_size > 10_000
