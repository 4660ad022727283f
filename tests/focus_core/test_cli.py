"""The command line as a user meets it: another process, its exit code, its two streams."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from focus_core.cli.settings import read_settings
from focus_core.cli.summary import summarise
from focus_core.config import IngestSettings, PromoteSettings, RunSettings, SimulateSettings
from focus_core.cubes.publish import publish
from focus_core.errors import MissingInputError, SettingsError

VERBS = [
    "ingest",
    "tile",
    "pretrain",
    "train",
    "evaluate",
    "promote",
    "explain",
    "aggregate",
    "report",
    "season",
    "simulate",
    "run",
    "export",
    "bench",
    "rollback",
    "audit",
    "verify",
]
TINY = ["--set", "blocks=2", "--set", "plot_px=8", "--set", "bands=30", "--set", "window_px=6"]


def focus(*arguments, **options):
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "focus_core", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **options,
    )


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; from focus_core.cli import main; sys.argv = ['focus', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    started = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 5.0  # half a second on an idle machine
    assert not {"torch", "mlflow", "xarray", "numpy", "pandas", "pydantic", "kfp"} & set(found.stderr.split())
    assert all(verb in found.stdout for verb in VERBS)


def test_every_verb_and_every_bench_explains_itself():
    from typer.main import get_command

    from focus_core.cli.app import app

    verbs = dict(get_command(app).commands)
    assert sorted(verbs) == sorted(VERBS)
    benches = verbs.pop("bench").commands
    for command in (*verbs.values(), *benches.values()):
        assert len(command.help) > 20
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--verbose"} <= options


def test_the_benches_are_listed_a_line_each():
    found = focus("bench", "--help")
    assert found.returncode == 0
    for name in ("backbones", "rotations", "explain", "quality", "sink", "aggregate", "ingest", "tiles", "campaign"):
        assert re.search(rf"{name} +[A-Z].*\.", found.stdout)


def test_a_user_error_is_a_message_and_no_traceback(tmp_path):
    found = focus("ingest", tmp_path / "none.yaml", tmp_path / "cube.zarr", tmp_path / "reference.zarr")
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("focus: ")
    assert "none.yaml: no such campaign file; check the path" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "trial", "--set", "blocks"], "expected KEY=VALUE"),
        (["simulate", "trial", "--set", "blocs=2"], "Known settings: .*blocks"),
        (["simulate", "trial", "--settings", "none.yaml"], "no such settings file"),
        (["bench", "nothing", "c.yaml", "--out", "o"], "no bench 'nothing'; known: backbones, rotations, explain"),
        (["bench", "backbones", "c.yaml", "--out", "o", "--seeds", "a"], "expected whole numbers"),
        (["bench", "quality", "--seeds", "-1"], "expected whole numbers"),
        (["bench", "quality", "--json", "none/q.json"], "--json 'none/q.json' cannot be written; make its folder"),
        (["bench", "quality", "--plot", "q.pgn"], "--plot 'q.pgn' is of no known format; end it in one of .*png"),
        (["run", "none.yaml", "--out", "o"], "no such campaign file"),
        (["audit", "--tracking", "somewhere"], "not supported"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, arguments, message):
    found = focus(*arguments, cwd=tmp_path)
    assert found.returncode == 2
    assert re.search(message, found.stderr)
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback(tmp_path):
    code = (
        "import typer; from focus_core.cli.exits import run_app; app = typer.Typer(pretty_exceptions_enable=False)\n"
        "@app.command()\n"
        "def fail(): raise ZeroDivisionError('ours')\n"
        "run_app(app, 'x')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "Traceback" in found.stderr
    assert "ZeroDivisionError: ours" in found.stderr


def test_an_interrupt_exits_130_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "focus_core", "simulate", "trial", "--verbose"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    for line in process.stderr:  # wait until it is at work
        if "simulating flight-1" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert not (tmp_path / "trial").exists()


def test_the_summary_goes_to_standard_output_alone(tmp_path):
    found = focus("simulate", "trial", *TINY, "--json", "-", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    summary = json.loads(found.stdout)
    assert set(summary) == {"environment", "commit", "metrics"}
    assert summary["metrics"]["plots"] == {"values": [8.0], "mean": 8.0, "median": 8.0, "std": 0.0}
    assert summary["environment"]["python"].startswith("3.")
    again = focus("simulate", "trial", *TINY, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout == ""
    assert "simulated data in trial" in again.stderr
    assert "plots" in again.stderr


def test_the_audit_trail_is_readable_and_machine_readable(tmp_path, registry):
    found = focus("audit", "focus", "--json", "-", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    summary = json.loads(found.stdout)
    assert summary["records"] == []
    assert summary["metrics"]["records"]["values"] == [0]
    refused = focus("rollback", "focus", "--reason", "it is worse in the field", cwd=tmp_path)
    assert refused.returncode == 2
    assert "'focus' has no champion, and no earlier champion to return to; promote a version" in refused.stderr


def test_published_folders_are_checked_against_what_was_published(tmp_path):
    record = {"step": "ingest", "inputs": {}, "settings": IngestSettings()}
    stores = [tmp_path / name for name in ("one", "two", "three")]
    for store in stores:
        publish(store, **record, write=lambda folder: {"b": float((folder / "data").write_bytes(b"as measured"))})
    found = focus("verify", *stores, "--json", "-")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["metrics"]["verified"]["values"] == [3]
    (stores[0] / "data").write_bytes(b"as measureb")
    (stores[2] / "stray").write_bytes(b"")
    found = focus("verify", *stores, tmp_path / "none")
    assert found.returncode == 2
    told = found.stderr.splitlines()
    assert len(told) == 3
    assert f"'{stores[0]}' was changed after it was published" in told[0]
    assert f"'{stores[2]}' was changed after it was published" in told[1]
    assert f"'{tmp_path / 'none'}' does not exist or is not finished" in told[2]


def test_repetitions_are_summarised():
    numbers = summarise({"a": [1.0, 2.0, 6.0]})["metrics"]["a"]
    assert numbers == {"values": [1.0, 2.0, 6.0], "mean": 3.0, "median": 2.0, "std": pytest.approx(7.0**0.5)}


def test_settings_come_from_a_file_then_from_the_command_line(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("train: {epochs: 5, sink: false}\n")
    found = read_settings(RunSettings, str(file), ["train.epochs=7", "pretrain.backbone.width=48"])
    assert (found.train.epochs, found.train.sink, found.pretrain.backbone.width) == (7, False, 48)
    assert found.pretrain.backbone.depth == RunSettings().pretrain.backbone.depth


def test_a_threshold_is_set_by_its_dotted_name_beside_the_others():
    found = read_settings(PromoteSettings, None, ["at_most.gate.ece=0.5"])
    assert found.at_most == {**PromoteSettings().at_most, "gate.ece": 0.5}
    nested = read_settings(RunSettings, None, ["promote.at_most.gate.ece=0.5"])
    assert nested.promote == found


def test_values_are_yaml():
    found = read_settings(
        SimulateSettings, None, ["null_ranges_nm=[[900, 950]]", "collapse=true", "severity=[0.2, 0.4]", "noise=1e1"]
    )
    assert found.null_ranges_nm == ((900.0, 950.0),)
    assert (found.collapse, found.severity, found.noise) == (True, (0.2, 0.4), 10.0)


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=[1", "epochs.x=1", "epochs=many", "backbone=3"])
def test_a_wrong_setting_is_refused(text):
    from focus_core.config import PretrainSettings

    with pytest.raises(SettingsError, match=r"--set|Known settings"):
        read_settings(PretrainSettings, None, [text])


def test_a_settings_file_must_be_a_mapping(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("- 1\n")
    with pytest.raises(SettingsError, match="expected a mapping of settings, found list"):
        read_settings(RunSettings, str(file), [])
    with pytest.raises(MissingInputError, match="check the path"):
        read_settings(RunSettings, str(tmp_path / "none.yaml"), [])


def test_a_table_shows_names_as_they_are(tmp_path):
    name = "[bold]x[/bold]"
    code = f"from focus_core.cli.summary import emit; emit({name!r}, {{{name!r}: [1.0]}}, None)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.count(name) == 2


def test_both_names_of_the_command_are_one():
    found = subprocess.run(
        [str(Path(sys.executable).with_name("focus")), "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout == focus("--version").stdout
