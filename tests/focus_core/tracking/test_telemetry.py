"""Nobody outside is told that MLflow is used."""

import os
import subprocess
import sys

import pytest

# MLflow asks for its settings of telemetry on a thread, as soon as it is imported.
CODE = """
import socket, time
asked = []
def ask(host, *_, **__):
    asked.append(host)
    raise socket.gaierror(f"{{host}}: no names here")
socket.getaddrinfo = ask
{start}
import mlflow
with mlflow.start_run():
    mlflow.log_metric("loss", 1.0)
deadline = time.monotonic() + {patience_s}
while not asked and time.monotonic() < deadline:
    time.sleep(0.1)
print(*asked)
"""
OURS = "from focus_core import tracking; tracking.configure()"
# Any of these switches it off as well.
QUIET = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "GITHUB_ACTIONS", "GITLAB_CI", "PYTEST_CURRENT_TEST")


@pytest.mark.parametrize(("start", "patience_s", "tells"), [(OURS, 3, False), ("", 60, True)])
def test_no_name_is_asked_for_where_this_library_chose_the_place(registry, start, patience_s, tells):
    # A proxy would be asked for in the stead of every name.
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {name: value for name, value in kept.items() if name not in QUIET}
    code = CODE.format(start=start, patience_s=patience_s)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("telemetry" in done.stdout) is tells, done.stdout
    assert tells or done.stdout.strip() == ""
