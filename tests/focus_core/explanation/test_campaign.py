"""A campaign is explained shard by shard: the same numbers wherever, whatever broke on the way."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from focus_core.batches import read_tiles
from focus_core.cubes.parts import LEDGER
from focus_core.cubes.record import digest, verify
from focus_core.cubes.schema import TILES
from focus_core.cubes.store import open_explanation, open_store
from focus_core.errors import SettingsError, StoreError
from focus_core.evaluation import drift_of_flight, training_plots
from focus_core.explanation import load_focus
from focus_core.model import Focus, save_model
from focus_core.steps.explain import explain
from tests.focus_core.explanation.small_campaign import COUNT, PER_FILE, SETTINGS, damage, write_campaign

KILLS = int(os.environ.get("FOCUS_KILLS", "20"))


@pytest.fixture
def campaign(tmp_path: Path, small_model: Callable[..., Focus]) -> tuple[str, str]:
    return write_campaign(tmp_path, small_model)


def run(campaign: tuple[str, str], target: Path, **changes: object) -> dict[str, float]:
    return explain(*campaign, str(target), settings=SETTINGS.model_copy(update=changes))


def opened(target: Path) -> xr.Dataset:
    return xr.open_zarr(target, consolidated=False).load()


def same_but_for(tiles: list[int], damaged: xr.Dataset, whole: xr.Dataset) -> bool:
    rest = [tile for tile in range(COUNT) if tile not in tiles]
    return all(damaged[name].isel(tile=rest).equals(whole[name].isel(tile=rest)) for name in whole if name != "bias")


@pytest.mark.parametrize(("batch", "shard"), [(1, 1), (2, 5), (16, 32)])
def test_every_tile_gets_what_the_model_says_of_it_alone(
    campaign: tuple[str, str], tmp_path: Path, batch: int, shard: int
) -> None:
    before = torch.get_num_threads()
    metrics = run(campaign, tmp_path / "explanation.zarr", batch_tiles=batch, tiles_per_shard=shard)
    found, tiles, (model, _) = (
        opened(tmp_path / "explanation.zarr"),
        open_store(campaign[0], TILES),
        load_focus(campaign[1]),
    )
    for tile in range(COUNT):
        alone = model.explain(read_tiles(tiles, [tile]))
        for name, values in alone._asdict().items():
            np.testing.assert_allclose(found[name][tile], values[0], atol=1e-6, rtol=0)
    assert found["plot"].to_numpy().tolist() == tiles["plot"].to_numpy().tolist()
    assert (metrics["tiles"], metrics["tiles_failed"]) == (COUNT, 0.0)
    assert torch.get_num_threads() == before
    verify(tmp_path / "explanation.zarr")


def test_a_cluster_writes_the_same_bytes_as_threads(campaign: tuple[str, str], tmp_path: Path) -> None:
    from distributed import LocalCluster

    run(campaign, tmp_path / "threads.zarr")
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster:
        run(campaign, tmp_path / "cluster.zarr", dask_scheduler=cluster.scheduler_address)
    assert digest(tmp_path / "cluster.zarr") == digest(tmp_path / "threads.zarr")


@pytest.mark.services
def test_workers_in_processes_of_their_own_write_the_same_bytes(campaign: tuple[str, str], tmp_path: Path) -> None:
    from distributed import LocalCluster

    run(campaign, tmp_path / "threads.zarr")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        run(campaign, tmp_path / "cluster.zarr", dask_scheduler=cluster.scheduler_address)
    assert digest(tmp_path / "cluster.zarr") == digest(tmp_path / "threads.zarr")


def test_a_scheduler_that_does_not_answer_is_a_clear_error(campaign: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no Dask scheduler answers at 'nowhere://127\.0\.0\.1:1'"):
        run(campaign, tmp_path / "explanation.zarr", dask_scheduler="nowhere://127.0.0.1:1")


def test_a_damaged_tile_costs_that_tile_and_the_summary_says_so(
    campaign: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(campaign, tmp_path / "whole.zarr")
    damage(7, campaign[0])
    with caplog.at_level(logging.WARNING):
        metrics = run(campaign, tmp_path / "explanation.zarr")
    found = opened(tmp_path / "explanation.zarr")
    assert same_but_for([7], found, opened(tmp_path / "whole.zarr"))
    assert all(found[name][7].isnull().all() for name in found if name != "bias")
    assert "checksum" in str(found["failure"][7].item())
    assert (metrics["tiles"], metrics["tiles_failed"], metrics["tile_failed.7"]) == (COUNT, 1.0, 1.0)
    assert "tile 7 of plot P03 is not explained: cannot be read" in caplog.text
    left = open_explanation(tmp_path / "explanation.zarr")
    assert left["col"].to_numpy().tolist() == [12 * tile for tile in range(COUNT) if tile != 7]
    assert metrics["sink_share"] == pytest.approx(float(left["sink_share"].mean()))


def test_after_a_repair_the_same_call_explains_the_repaired_tiles_and_no_other(
    campaign: tuple[str, str], tmp_path: Path
) -> None:
    run(campaign, tmp_path / "whole.zarr")
    repair, target = {tile: damage(tile, campaign[0]) for tile in (7, 12)}, tmp_path / "explanation.zarr"
    run(campaign, target)
    left = (target / "zarr.json").stat().st_ino
    assert run(campaign, target)["tiles_failed"] == 2.0
    assert (target / "zarr.json").stat().st_ino == left  # nothing was repaired: nothing is written
    repair[7]()
    damage(8, campaign[0])  # in the batch of 7: would be lost if it were read again
    metrics = run(campaign, target)
    assert {key: value for key, value in metrics.items() if "failed" in key} == {
        "tiles_failed": 1.0,
        "tile_failed.12": 1.0,
    }
    assert same_but_for([12], opened(target), opened(tmp_path / "whole.zarr"))
    verify(target)
    repair[12]()
    assert run(campaign, target)["tiles_failed"] == 0.0
    assert digest(target) == digest(tmp_path / "whole.zarr")


def test_a_flight_is_compared_with_training_without_a_second_reading(
    campaign: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles, (model, _) = open_store(campaign[0], TILES), load_focus(campaign[1])
    model.spec = model.spec.model_copy(update={"training_plots": training_plots(model, tiles)})
    own, target, read = tmp_path / "compared", tmp_path / "explanation.zarr", list[int]()
    own.mkdir()
    save_model(model, own)
    original = zarr.Array.__getitem__

    def counting(array: Any, key: Any) -> Any:
        if array.name == "/reflectance":
            read.extend(range(COUNT)[key[0]])
        return original(array, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counting)
    metrics = run((campaign[0], str(own)), target)
    assert sorted(read) == list(range(COUNT))
    again = drift_of_flight(model.spec, tiles, opened(target))
    assert len(read) == 2 * COUNT
    assert {key.removeprefix("drift."): value for key, value in metrics.items() if "drift" in key} == again
    damage(3, campaign[0])
    assert drift_of_flight(model.spec, open_store(campaign[0], TILES), opened(target)).keys() == again.keys()


def test_a_lost_file_costs_its_tiles(campaign: tuple[str, str], tmp_path: Path) -> None:
    run(campaign, tmp_path / "whole.zarr")
    (Path(campaign[0]) / "reflectance" / "c" / "1" / "0" / "0" / "0").unlink()
    metrics = run(campaign, tmp_path / "explanation.zarr")
    lost = list(range(PER_FILE, 2 * PER_FILE))
    found = opened(tmp_path / "explanation.zarr")
    assert np.flatnonzero(found["failure"] != "").tolist() == lost
    assert set(found["failure"][lost].to_numpy()) == {"it holds no pixel; its chunk is lost"}
    assert same_but_for(lost, found, opened(tmp_path / "whole.zarr"))
    assert metrics["tiles_failed"] == PER_FILE


def test_a_campaign_of_damaged_tiles_is_an_error(campaign: tuple[str, str], tmp_path: Path) -> None:
    shutil.rmtree(Path(campaign[0]) / "reflectance" / "c")
    with pytest.raises(StoreError, match=f"none of {COUNT} tiles can be explained: it holds no pixel"):
        run(campaign, tmp_path / "explanation.zarr")
    assert not (tmp_path / "explanation.zarr").exists()


def interrupt_after(shards: int, folder: Path) -> None:
    """Interrupt the process, as Ctrl-C does, when so many shards are finished."""
    while True:
        ledgers = list(folder.glob(f".explanation.zarr.partial-*/{LEDGER}"))
        if ledgers and len(ledgers[0].read_text(encoding="utf-8").splitlines()) >= shards:
            break
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_goes_on_from_finished_shards_and_does_damaged_ones_again(
    campaign: tuple[str, str], tmp_path: Path
) -> None:
    run(campaign, tmp_path / "whole.zarr", tiles_per_shard=1)
    target = tmp_path / "explanation.zarr"
    watcher = threading.Thread(target=interrupt_after, args=(3, tmp_path), daemon=True)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run(campaign, target, tiles_per_shard=1)
    watcher.join()
    assert not target.exists()
    (partial,) = tmp_path.glob(".explanation.zarr.partial-*")
    finished = [int(json.loads(line)[0]) for line in (partial / LEDGER).read_text(encoding="utf-8").splitlines()]
    assert 3 <= len(finished) < COUNT
    files = {tile: partial / "logit" / "c" / str(tile) / "0" for tile in finished}
    files[finished[0]].write_bytes(files[finished[0]].read_bytes()[:-1])
    kept = {tile: path.stat().st_ino for tile, path in files.items() if tile != finished[0]}
    run(campaign, target, tiles_per_shard=1)
    assert {tile: (target / "logit" / "c" / str(tile) / "0").stat().st_ino for tile in kept} == kept
    assert digest(target) == digest(tmp_path / "whole.zarr")
    assert not list(tmp_path.glob(".explanation.zarr.partial-*"))


@pytest.mark.services
@pytest.mark.timeout(1200)
def test_a_run_killed_at_any_moment_and_run_again_gives_the_same_store(
    campaign: tuple[str, str], tmp_path: Path
) -> None:
    run(campaign, tmp_path / "whole.zarr", tiles_per_shard=1)
    fresh = multiprocessing.get_context("forkserver")  # imports once, and forks from where no thread runs
    fresh.set_forkserver_preload(["focus_core.steps.explain"])
    killed, rng, target = 0, np.random.default_rng(1), tmp_path / "explanation.zarr"

    def started() -> Any:
        child = fresh.Process(target=_explain, args=(campaign, str(target)))
        child.start()
        return child

    for _ in range(2):  # the first waits for the process that forks the others
        before = time.perf_counter()
        started().join()
        seconds = time.perf_counter() - before
        shutil.rmtree(target)
    while killed < KILLS:
        child = started()
        child.join(rng.uniform(0.0, seconds))
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        run(campaign, target, tiles_per_shard=1)
        assert digest(target) == digest(tmp_path / "whole.zarr")
        shutil.rmtree(target)


def _explain(campaign: tuple[str, str], target: str) -> None:
    run(campaign, Path(target), tiles_per_shard=1)
