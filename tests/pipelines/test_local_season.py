"""What the season pipeline does with its flights, through Kubeflow's local runner: a task for each chunk."""

from pathlib import Path

import pytest
from kfp import dsl

from focus_core.config import RunLayout
from focus_core.steps._flights import read_flights
from pipelines.local import PipelineError, run_one
from pipelines.placement import Placement
from pipelines.season import season_tasks


@dsl.pipeline(name="flights-of-a-season")
def explained(flights_file: str, manifest_uri: str, settings: dict) -> None:
    """Explain the flights of a list with the champion that is there."""
    season_tasks(Placement(), flights_file=flights_file, manifest_uri=manifest_uri, settings=settings)


@pytest.mark.services
@pytest.mark.timeout(600)
def test_chunks_have_a_task_each_and_bad_flights_are_told_in_the_end(tmp_path):
    layout = RunLayout.below(tmp_path / "out")
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
