"""What the season pipeline does with its flights, through Kubeflow's local runner: a task for each chunk."""

import builtins
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xarray as xr
from kfp import dsl

from focus_core import tracking
from focus_core.config import CampaignFile, RunLayout, SeasonSettings, from_mapping
from focus_core.steps._flights import read_flights
from pipelines.arguments import season_arguments
from pipelines.local import PipelineError, run_one
from pipelines.placement import Placement, TaskPlacement
from pipelines.season import season, season_tasks
from tests.focus_core.steps.spoiled import mended, spoiled
from tests.pipelines.tasks import explains, kill_once, runs


@dsl.pipeline(name="flights-of-a-season")
def explained(flights_file: str, manifest_uri: str, settings: dict) -> None:
    """Explain the flights of a list with the champion that is there."""
    season_tasks(Placement(), flights_file=flights_file, manifest_uri=manifest_uri, settings=settings)


@pytest.mark.services
@pytest.mark.timeout(600)
def test_chunks_have_a_task_each_and_bad_flights_are_told_in_the_end(tmp_path):
    layout, handlers = RunLayout.below(tmp_path / "out"), logging.getLogger().handlers[:]
    flights = [tmp_path / f"{name}.yaml" for name in "abc"]
    for path in flights:
        path.write_text("campaign: [")
    listed = tmp_path / "flights.txt"
    listed.write_text("\n".join(map(str, flights)))
    arguments = {"flights_file": str(listed), "manifest_uri": layout.season}
    folder = run_one(explained, {**arguments, "settings": {"flights_per_chunk": 2, "may_fail": 3}}, layout)
    assert len([path for path in folder.rglob("flights") if path.is_dir()]) == 2
    found = read_flights(layout.season)
    assert [(Path(item.file), item.state) for item in found] == [(path, "failed") for path in flights]
    assert all("not valid YAML" in item.reason for item in found)

    with pytest.raises(PipelineError, match="3 of 3 flights failed"):
        run_one(explained, {**arguments, "settings": {"flights_per_chunk": 2}}, layout)
    # Kubeflow's threads would leave theirs.
    assert builtins.print.__module__ == "builtins"
    assert logging.getLogger().handlers == handlers


def ended(layout):
    """State and tries of each flight."""
    return {item.campaign: (item.state, item.tries) for item in read_flights(layout.season)}


@pytest.mark.services
@pytest.mark.timeout(1800)
def test_a_season_outlives_killed_tasks_and_loses_a_bad_flight_alone(
    tiny_field, tiny_settings, registry, told, tmp_path, monkeypatch
):
    """``train`` is killed in the middle, and so is the task of a chunk; of a third flight the raw file was cut off."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    layout, listed = RunLayout.below(tmp_path / "out"), tmp_path / "flights.txt"
    first, second = (tiny_field / f"flight-{number}" / "campaign.yaml" for number in (1, 2))
    bad = spoiled(tiny_field, tmp_path, "cut-off")
    listed.write_text(f"{bad}\n{first}\n{second}\n")
    how = {"flights_per_chunk": 2, "retry_after_s": 0.0}
    settings = from_mapping(SeasonSettings, tiny_settings.model_dump(mode="json", exclude_defaults=True) | how)
    arguments = season_arguments(CampaignFile(str(first)), str(listed), layout, settings)
    again = TaskPlacement(retries=1, retry_after_s=0)
    pipeline = season(Placement(tasks={"train": again, "flights": again}))
    part = str(Path(layout.season).with_suffix("") / "0000.json")
    with ThreadPoolExecutor(2) as pool:
        killed = [
            pool.submit(kill_once, "train", layout.model, runs(Path(layout.model).parent, "train")),
            pool.submit(kill_once, "flights", part, explains(part, "simulated-flight-1")),
        ]
        with pytest.raises(PipelineError, match=r"1 of 3 flights failed, the others are explained(.|\n)*\ncut-off: "):
            run_one(pipeline, arguments, layout)
        assert all(attempt.result() for attempt in killed)
    # The chunk went on where it stood: its first flight had had its tries before the kill, the second is tried again.
    expected = {"cut-off": ("failed", 2), "simulated-flight-1": ("done", 2), "simulated-flight-2": ("done", 1)}
    assert ended(layout) == expected
    log = (layout.kubeflow / "log.txt").read_text(encoding="utf-8")
    assert log.count("]: train: done after") == 1
    assert tracking.champion("focus") == 1
    (message,) = told
    assert message["title"].endswith("flights.txt: failed")
    assert "out: gather: 1 of 3 flights failed" in message["text"]
    with xr.open_zarr(layout.importance, consolidated=False) as store:
        assert set(store["campaign"].values) == {"simulated-flight-1", "simulated-flight-2"}
        identity = store["importance"].sum("band") + store["bias"] - store["logit"]
        assert float(abs(identity.where(store["present"])).max()) < 1e-4
    for name in ("simulated-flight-1", "simulated-flight-2"):
        assert "<html" in (layout.out / name / "report.html").read_text(encoding="utf-8")

    mended(tiny_field, bad)
    run_one(
        explained,
        {name: arguments[name] for name in ("flights_file", "manifest_uri")}
        | {"settings": arguments["settings_of_season"]},
        layout,
    )
    assert ended(layout) == dict.fromkeys(expected, ("done", 1))
    assert tracking.champion("focus") == 1
    assert len(told) == 1
