"""The log keeps every line; the terminal gets those that tell something."""

import contextlib

from pipelines.log import TaskLog

TEXT = """09:00:00.000 - INFO - Executing task \x1b[96m'tile'\x1b[0m
    [KFP Executor 2026-01-01 09:00:01,000 INFO]: Got executor_input:
    {"inputs": {}}
    [KFP Executor 2026-01-01 09:00:02,000 INFO]: field: 216 tiles of 32 plots
    Traceback (most recent call last):
    focus_core.errors.CampaignError: campaign.yaml:3: date: is missing; add it
    campaign.yaml:5: sensor: is missing; add it

09:00:03.000 - ERROR - Task \x1b[96m'tile'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


def test_telling_lines_are_shown_and_all_are_kept(tmp_path, capsys):
    log = TaskLog(tmp_path / "log.txt")
    for start in range(0, len(TEXT), 7):  # Kubeflow prints in pieces
        log.write(TEXT[start : start + 7])
    log.close()
    assert capsys.readouterr().err.splitlines() == [
        "Executing task 'tile'",
        "    field: 216 tiles of 32 plots",
        "Task 'tile' finished with status FAILURE",
    ]
    kept = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert '{"inputs": {}}' in kept
    assert len(kept.splitlines()) == len(TEXT.splitlines())


def test_lines_of_json_are_shown_as_they_are_and_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FOCUS_LOG", "json")
    line = '{"time": "2026-06-12T09:00:00.000+00:00", "level": "INFO", "message": "field: 216 tiles"}'
    with contextlib.closing(TaskLog(tmp_path / "log.txt")) as log:
        log.write(f"{TEXT}    {line}\n")
    assert capsys.readouterr().err == f"{line}\n"
    assert "Executing task" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_the_reason_is_the_task_and_the_message_of_its_error_on_purpose(tmp_path):
    log = TaskLog(tmp_path / "log.txt")
    log.write(TEXT)
    message = "campaign.yaml:3: date: is missing; add it\ncampaign.yaml:5: sensor: is missing; add it"
    assert log.reason() == f"tile: {message}"
    log.close()


def test_the_reason_outlives_the_task_that_tells_of_it(tmp_path):
    with contextlib.closing(TaskLog(tmp_path / "log.txt")) as log:
        log.write(TEXT)
        log.write("    {}\n" * 1000)
        log.write("09:00:09.000 - INFO - Task 'notify' finished with status SUCCESS\n")
        assert log.reason().startswith("tile: campaign.yaml:3: date: is missing")


def test_a_defect_has_no_such_reason(tmp_path, capsys):
    log = TaskLog(tmp_path / "log.txt")
    log.write("    Traceback (most recent call last):\n    ZeroDivisionError: division by zero\n")
    assert log.reason() is None
    log.show_last()
    assert "ZeroDivisionError" in capsys.readouterr().err
    log.close()
