"""The one shape of every summary: environment, commit and named values. Computes none of the values."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from focus_core.errors import TargetError


def summarise(metrics: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the summary of named values, one value for each repetition.

    ``std`` is the sample standard deviation; of a single value it is 0.
    """
    from focus_core.tracking import environment

    found: dict[str, Any] = environment()
    commit = found.pop("commit", None)
    return {
        "environment": {**found, "cpus": os.cpu_count()},
        "commit": commit,
        "metrics": {
            name: {
                "values": list(values),
                "mean": statistics.fmean(values),
                "median": statistics.median(values),
                "std": _spread(values),
            }
            for name, values in sorted(metrics.items())
        },
    }


def emit(title: str, metrics: Mapping[str, Sequence[float]], json_path: str | None) -> None:
    """Write the summary to ``json_path`` (``-``: standard output), else a table to standard error.

    Raises
    ------
    TargetError
        If the file cannot be written.
    """
    if json_path is not None:
        write_json(summarise(metrics), json_path)
    elif any(len(values) > 1 for values in metrics.values()):
        rows = [
            (
                name,
                f"{statistics.fmean(values):.6g}",
                f"{statistics.median(values):.6g}",
                f"{_spread(values):.3g}",
                len(values),
            )
            for name, values in sorted(metrics.items())
        ]
        print_table(title, ("metric", "mean", "median", "std", "values"), rows)
    else:
        print_table(
            title, ("metric", "value"), [(name, f"{values[0]:.6g}") for name, values in sorted(metrics.items())]
        )


def write_json(content: Mapping[str, Any], path: str) -> None:
    """Write JSON to a file, or to standard output where ``path`` is ``-``.

    Raises
    ------
    TargetError
        If the file cannot be written.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise TargetError(f"--json '{path}' cannot be written: {error}") from error


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table to standard error; cells are plain text, whatever characters they hold."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(column, overflow="fold") for column in columns))  # a cut name is no name
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = Console(stderr=True)
    console.print(Text(title), soft_wrap=True)
    console.print(table)


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
