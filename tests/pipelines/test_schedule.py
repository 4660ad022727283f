"""A season on paper: the figures of infra/SCALING.md come from a command."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from focus_core.errors import MissingInputError, SettingsError
from pipelines.__main__ import app
from pipelines.schedule import Season, counted, hours, measured

ROOT = Path(__file__).parents[2]


def season(**changes):
    return Season(**{"flights": 10, "flight_s": 3600.0, "gpu_s": 0.0, "merge_s": 0.0, "per_flight_s": 0.0, **changes})


@pytest.mark.parametrize(
    ("changes", "nodes", "expected_h"),
    [
        ({}, 1, 10.0),
        ({}, 4, 3.0),  # the last two of ten flights need a round of their own
        ({}, 20, 1.0),
        ({"merge_s": 3600.0}, 20, 11.0),  # one after the other, when all have worked
        ({"merge_s": 1800.0}, 1, 15.0),
        ({"flights": 3, "per_flight_s": 3600.0}, 3, 1.0 + 0.0 + 1.0 + 2.0),
    ],
)
def test_nodes_take_turns_and_the_store_is_one(changes, nodes, expected_h):
    assert hours(season(**changes), nodes) == pytest.approx(expected_h)


def test_pods_are_those_of_the_compiled_pipelines():
    assert counted("campaign") == (7, 2 * 7 + 2)
    assert counted("season") == (10, 2 * 10 + 3 + 1)  # one chunk


def test_what_a_flight_takes_is_the_mean_of_a_run_s_campaigns(tmp_path):
    steps = ("ingest", "tile", "explain", "evaluate", "aggregate", "report")
    seconds = {f"flight-{n}.{verb}.seconds": 10.0 * n for n in (1, 3) for verb in steps}
    seconds |= {"flight-1.train.seconds": 1e6, "run.seconds": 1e6}
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"metrics": {name: {"mean": value} for name, value in seconds.items()}}))
    assert measured(str(path)) == (120.0, 40.0)
    path.write_text("{}")
    with pytest.raises(SettingsError, match=r"is not the summary\.json of a run"):
        measured(str(path))
    with pytest.raises(MissingInputError, match="no such summary"):
        measured(str(tmp_path / "absent.json"))


def rows():
    """Options and hours of each row of the table in SCALING.md."""
    text = (ROOT / "infra" / "SCALING.md").read_text(encoding="utf-8")
    table = text[text.index("| options |") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) == 4
    for row in table:
        options, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        found = re.match(r"`([^`]*)`", options)
        yield found.group(1) if found else "", [float(cell.split()[0]) for cell in cells]


@pytest.mark.parametrize(("options", "expected_h"), list(rows()))
def test_the_hours_of_scaling_are_what_the_command_says(options, expected_h):
    done = CliRunner().invoke(app, ["schedule", "--json", "-", *shlex.split(options)])
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)["metrics"]
    said = [metrics[f"hours.{nodes}_nodes"]["mean"] for nodes in (1, 4, 16)]
    assert said == pytest.approx(expected_h, rel=0.03)
    assert metrics["campaign.pods_of_all"]["mean"] == 16_000
    assert metrics["season.pods_of_all"]["mean"] == 171


def test_a_wrong_number_of_nodes_is_refused():
    command = [sys.executable, "-m", "pipelines", "schedule", "--nodes", "1,0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--nodes is '1,0'; give whole numbers from 1, with commas" in done.stderr
