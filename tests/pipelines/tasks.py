"""Processes of the tasks of a local run, found and killed."""

import json
import time
from pathlib import Path

import psutil

from focus_core.steps._flights import read_flights

_EXECUTOR = ["-m", "kfp.dsl.executor_main"]


def kill_once(task, within, at_work):
    """Kill the process of a task as soon as it is at work, once; the kernel does the same where memory runs out.

    Of the tasks of this name it is the one whose arguments hold ``within``. The shell around the process lives on: it
    tells how the process ended, and to kill it alone would leave the process at work.
    """
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline:
        if at_work():
            for process in psutil.process_iter(["cmdline"]):
                line = process.info["cmdline"] or []
                if line[1:3] == _EXECUTOR and line[-1] == task and within in " ".join(line):
                    process.kill()
                    return True
        time.sleep(0.02)
    return False


def runs(folder, verb):
    """Tells whether a step is at work, by the status that it keeps in this folder."""
    path = Path(folder) / "status" / f"{verb}.json"
    return lambda: path.is_file() and json.loads(path.read_text(encoding="utf-8"))["state"] == "running"


def writes(target):
    """Tells whether a step is filling the folder that will be its target."""
    path = Path(target)
    return lambda: any(path.parent.glob(f".{path.name}.partial-*"))


def explains(part, campaign):
    """Tells whether the task of a chunk is at work on this flight of it."""

    def at_work():
        found = read_flights(part) if Path(part).is_file() else []
        return any(item.campaign == campaign and item.state == "running" for item in found)

    return at_work
