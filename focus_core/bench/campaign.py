"""What explaining a campaign costs: by its area, over bare passes of the frozen backbone, and on two workers.

The tiles are generated (200 bands, the backbone's own size in pixels) and lie in the system's cache. What has a peak
memory runs in a process of its own; what is compared runs in turn, so that a change of load meets both.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from focus_core.batches import read_readable_tiles
from focus_core.bench.noise import write_model, write_tiles
from focus_core.bench.process import alone, peak_mb
from focus_core.bench.timing import seconds_of
from focus_core.cluster import available_cpus
from focus_core.config import ExplainSettings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.schema import EXPLANATION, TILES
from focus_core.cubes.store import open_store, write_store
from focus_core.explanation import load_focus
from focus_core.model import Focus, placement
from focus_core.steps.explain import explain

logger = logging.getLogger(__name__)

AREAS = (1, 4, 16)
MODELS = {"vit_small": "vit_small_patch16_224", "vit_tiny": "vit_tiny_patch16_224"}
TARGETS = {"throughput.vit_small": 0.85, "throughput.vit_tiny": 0.75}
"""The smallest ratio that is good enough; time per tile is to stay within 15 %, memory within 10 % at every area."""
_CLASSES = 4


class Cost(NamedTuple):
    """What one call cost."""

    seconds: float
    cpu: float
    """Of all threads of the process, s: what other work on the machine does not change."""
    peak_mb: float
    """Largest resident memory of the process, MB."""


def run(*, folder: str, tiles: int = 16, side_px: int = 224, repeats: int = 2) -> dict[str, list[float]]:
    """Write generated campaigns and explain them.

    Parameters
    ----------
    folder
        Where campaigns and models are written, unless they are there already.
    tiles
        Windows of the smallest campaign; the others have 4 and 16 times as many.
    side_px
        Side of a window and of the backbone's input, pixels.
    repeats
        Measurements of each figure.

    Returns
    -------
    dict[str, list[float]]
        ``tile_seconds.x<area>`` (the whole step with a ViT-Ti, the model's loading included), ``tile_cpu.x<area>``,
        ``peak_mb.x<area>`` and each over that of area 1, ``…_over_x1``; ``further_tile_growth``: the time of a tile
        that area 16 has more than area 4, over that of one that area 4 has more than area 1, free of what a call costs
        once. ``throughput.<model>``: tiles a second of the step, as it is set by default, over those of bare passes of
        the same backbone on ready images, on as many cores; ``throughput_cpu`` the same of processor time.
        ``reading_share`` and ``writing_share`` of the step's processor time, each measured alone. ``two_workers``:
        tiles a second of two Dask workers with one core each over those of one.
    """
    root = Path(folder)
    campaigns = {area: write_tiles(root / f"x{area}.zarr", tiles=area * tiles, side_px=side_px) for area in AREAS}
    models = {name: write_model(root / name, MODELS[name], side_px=side_px, classes=_CLASSES) for name in MODELS}
    small = ExplainSettings(tiles_per_shard=max(1, tiles // 4))  # enough shards for all cores in every campaign
    values: dict[str, list[float]] = {}
    for number in range(repeats):
        logger.info("areas, repeat %d", number + 1)
        _add(values, _areas(campaigns, models["vit_tiny"], tiles, small))
    for name, model in models.items():
        logger.info("%s over bare passes", name)
        for row in alone(throughput, model, campaigns[4], ExplainSettings(), repeats, campaigns[1]):
            _add(values, {f"{key}.{name}": value for key, value in row.items()})
    logger.info("two workers over one")
    values["two_workers"] = alone(two_workers, models["vit_tiny"], campaigns[4], small, repeats, campaigns[1])
    return values


def _add(values: dict[str, list[float]], row: dict[str, float]) -> None:
    for key, value in row.items():
        values.setdefault(key, []).append(value)


def _areas(campaigns: dict[int, str], model: str, tiles: int, settings: ExplainSettings) -> dict[str, float]:
    costs = {area: alone(explained, model, uri, settings) for area, uri in campaigns.items()}
    row: dict[str, float] = {}
    for area, cost in costs.items():
        row |= {
            f"tile_seconds.x{area}": cost.seconds / (area * tiles),
            f"tile_cpu.x{area}": cost.cpu / (area * tiles),
            f"peak_mb.x{area}": cost.peak_mb,
        }
    over = {f"{key}_over_x1": value / row[f"{key.split('.')[0]}.x1"] for key, value in row.items()}
    first, second, third = (costs[area].seconds for area in AREAS)
    added = [(third - second) / (AREAS[2] - AREAS[1]), (second - first) / (AREAS[1] - AREAS[0])]
    growth = {"further_tile_growth": added[0] / added[1]}
    return row | growth | {key: value for key, value in over.items() if ".x1_" not in key}


def explained(model_uri: str, tiles_uri: str, settings: ExplainSettings) -> Cost:
    """Explain a campaign as the step does and return what it cost."""
    with _target(tiles_uri) as target:
        return _cost(lambda: explain(tiles_uri, model_uri, target, settings=settings))


def throughput(
    model_uri: str, tiles_uri: str, settings: ExplainSettings, repeats: int, warm_up_uri: str
) -> list[dict[str, float]]:
    """Explain a campaign and pass as many ready images through the bare backbone, in turn, after a smaller one."""
    model, _ = load_focus(model_uri)
    model.place(placement(settings.device))
    return [_over_bare(model, model_uri, uri, settings) for uri in (warm_up_uri, *[tiles_uri] * repeats)][1:]


def _over_bare(model: Focus, model_uri: str, tiles_uri: str, settings: ExplainSettings) -> dict[str, float]:
    bare = _bare(model, open_store(tiles_uri, TILES).sizes["tile"], settings.batch_tiles)
    floor = _cost(bare)
    with _target(tiles_uri) as target:
        whole = _cost(lambda: explain(tiles_uri, model_uri, target, settings=settings))
        reading = _cost(lambda: _read(tiles_uri, settings.batch_tiles))
        writing = _cost(lambda: _write(target))
    return {
        "throughput": floor.seconds / whole.seconds,
        "throughput_cpu": floor.cpu / whole.cpu,
        "reading_share": reading.cpu / whole.cpu,
        "writing_share": writing.cpu / whole.cpu,
    }


def two_workers(
    model_uri: str, tiles_uri: str, settings: ExplainSettings, repeats: int, warm_up_uri: str
) -> list[float]:
    """Explain a campaign on one and on two Dask workers, each a process with one core, in turn.

    A smaller one goes before: a worker imports torch with its first task.
    """
    with _workers(1) as one, _workers(2) as two:
        ratios = [
            _seconds_at(one, model_uri, uri, settings) / _seconds_at(two, model_uri, uri, settings)
            for uri in (warm_up_uri, *[tiles_uri] * repeats)
        ]
    return ratios[1:]


def _seconds_at(scheduler: str, model_uri: str, tiles_uri: str, settings: ExplainSettings) -> float:
    there = settings.model_copy(update={"dask_scheduler": scheduler})
    with _target(tiles_uri) as target:
        return seconds_of(lambda: explain(tiles_uri, model_uri, target, settings=there))


@contextmanager
def _workers(count: int) -> Iterator[str]:
    """Start Dask workers with one core each and yield their scheduler's address."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@contextmanager
def _target(tiles_uri: str) -> Iterator[str]:
    """Yield where to write an explanation, and remove what was written."""
    path = Path(tiles_uri).with_suffix(".explanation.zarr")
    try:
        yield str(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _bare(model: Focus, tiles: int, batch_tiles: int) -> Callable[[], object]:
    """Return bare passes over so many tiles: each core has its own batches, as in the step."""
    side = model.spec.input_px
    images = torch.randn(batch_tiles * len(model.spec.groups), 3, side, side, device=model.placement.device)

    def forward(_: int) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode(), model.placement.autocast():
            model.vit.forward_features(images)

    def all_tiles() -> None:
        with ThreadPoolExecutor(available_cpus()) as pool:
            list(pool.map(forward, range(tiles // batch_tiles)))

    return all_tiles


def _cost(call: Callable[[], object]) -> Cost:
    cpu = time.process_time()
    seconds = seconds_of(call)
    return Cost(seconds, time.process_time() - cpu, peak_mb())


def _read(tiles_uri: str, batch_tiles: int) -> None:
    tiles = open_store(tiles_uri, TILES)
    for start in range(0, tiles.sizes["tile"], batch_tiles):
        read_readable_tiles(tiles, np.arange(start, min(start + batch_tiles, tiles.sizes["tile"])))


def _write(explanation_uri: str) -> None:
    """Write a finished explanation once more, digest included."""
    found, again = open_store(explanation_uri, EXPLANATION).load(), f"{explanation_uri}.again"

    def write(folder: Path) -> Metrics:
        write_store(found, folder, EXPLANATION, encoding={})
        return {}

    publish(again, step="bench", inputs={}, settings=ExplainSettings(), write=write)
    shutil.rmtree(again)
