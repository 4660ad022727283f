"""The log of a local run: whole in a file, its telling lines on the terminal. Steers nothing."""

from __future__ import annotations

import io
import re
import sys
from collections import deque
from pathlib import Path

from focus_core.log import is_json

_COLOUR = re.compile(r"\x1b\[\d+m")
_TASK = re.compile(r"^\d\d:\d\d:\d\d\.\d+ - \w+ - (Executing task .*|Task .* finished .*)$")
_FAILURE = re.compile(r"^\d\d:\d\d:\d\d\.\d+ - \w+ - Task '(.*)' finished with status FAILURE$")
_STEP = re.compile(r"^\s*\[KFP Executor [^]]*\]: (.*)$")
_JSON = re.compile(r'^\s*(\{"time": .*\})$')
_ON_PURPOSE = re.compile(r"focus_core\.errors\.\w+: ")
_KUBEFLOWS_OWN = ("Looking for component", "Loading KFP component", "Got executor_input", "Wrote executor output")
_LAST = 60


class TaskLog(io.TextIOBase):
    """Stands in for standard output while pipelines run.

    Parameters
    ----------
    path
        The file; an earlier run's log is kept above.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._open_line = ""
        self._last: deque[str] = deque(maxlen=_LAST)
        self._failed: list[str] = []
        self._failed_task = ""

    def write(self, text: str) -> int:
        """Take text as it comes, in pieces of lines."""
        self._file.write(_COLOUR.sub("", text))
        *lines, self._open_line = (self._open_line + text).split("\n")
        for line in lines:
            self._take(_COLOUR.sub("", line))
        return len(text)

    def flush(self) -> None:
        """Bring the file up to date."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()

    def reason(self) -> str | None:
        """Return the message of the error on purpose that ended the last task, or none where it was another.

        Of a run whose end is told by another task it is that of the last one that failed, after its name.
        """
        lines = [line.strip() for line in self._failed or self._last]
        starts = [index for index, line in enumerate(lines) if _ON_PURPOSE.match(line)]
        if not starts:
            return None
        message = lines[starts[-1] :]
        end = message.index("") if "" in message else len(message)
        told = "\n".join(message[:end]).split(": ", 1)[1]
        return f"{self._failed_task}: {told}" if self._failed else told

    def show_last(self) -> None:
        """Put the last lines on standard error: they hold the traceback of a failure."""
        sys.stderr.write("\n".join((*(self._failed or self._last), "")))

    def _take(self, line: str) -> None:
        self._last.append(line)
        if failure := _FAILURE.match(line):
            self._failed, self._failed_task = list(self._last), failure.group(1)
        found = _TASK.match(line) or _STEP.match(line)
        if is_json():
            # Kubeflow's own lines stay in the file: whoever collects JSON gets nothing else.
            found = _JSON.match(line)
        if found and not found.group(1).startswith(_KUBEFLOWS_OWN):
            indent = "    " if _STEP.match(line) else ""
            sys.stderr.write(f"{indent}{found.group(1)}\n")
            sys.stderr.flush()
