"""``focus bench NAME``: figures against floors and rivals. Each parses its arguments, calls its bench and shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from focus_core.cli.options import Json, Verbose
from focus_core.cli.summary import emit
from focus_core.cli.whole_run import Campaigns, Out
from focus_core.errors import SettingsError, TargetError

Seeds = Annotated[str, typer.Option("--seeds", help="Seeds of the repetitions, with commas.")]
Scratch = Annotated[
    str | None,
    typer.Option("--scratch", metavar="DIR", help="Where flights are made and removed again; else the system's."),
]
Plot = Annotated[str | None, typer.Option("--plot", metavar="PATH.png", help="Draw the figures as bars.")]


class _Known(TyperGroup):
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a bench, or refuse a name that is none."""
        if cmd_name not in self.commands:
            raise SettingsError(f"no bench '{cmd_name}'; known: {', '.join(self.commands)}")
        return self.commands[cmd_name]


benches = typer.Typer(cls=_Known, help="Measure figures against floors and rivals.", no_args_is_help=True)


@benches.command()
def backbones(
    campaigns: Campaigns, out: Out, seeds: Seeds = "1,2,3", json_path: Json = None, verbose: Verbose = False
) -> None:
    """Score a random, a self-supervised and a supervised backbone."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import backbones as bench

    started = time.perf_counter()
    values = bench.run(campaigns, folder=out, seeds=numbers)
    _show("backbones", started, values, json_path)


@benches.command()
def rotations(
    campaigns: Campaigns, out: Out, seeds: Seeds = "1,2,3", json_path: Json = None, verbose: Verbose = False
) -> None:
    """Repeat a campaign with its blocks in other folds."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import rotations as bench

    started = time.perf_counter()
    values = bench.run(campaigns, folder=out, seeds=numbers)
    _show("rotations", started, values, json_path)


@benches.command()
def explain(
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="NAMES",
            help="Of ViT-Ti, ViT-S and ViT-B, with commas; without it those that the machine is fit for.",
        ),
    ] = None,
    rivals: Annotated[bool, typer.Option("--rivals/--no-rivals", help="Measure the rivals beside FOCUS.")] = True,
    plot: Plot = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Cost of an explanation over a plain forward pass."""
    from focus_core.bench import explain as bench
    from focus_core.bench.chart import draw_ratios

    started = _started(json_path, plot)
    names = models.split(",") if models else bench.default_names()
    values = bench.run(bench.backbones(names), rivals=rivals)
    _show("explain", started, values, json_path)
    if plot is not None:
        draw_ratios(values, bench.TARGETS, plot)


@benches.command()
def quality(
    seeds: Seeds = "1,2,3",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Seeds at a time; each takes about 7 GB of memory.")] = 2,
    plot: Plot = None,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Curves and maps against planted truth, beside rivals; about 19 minutes of one core a seed."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import quality as bench
    from focus_core.bench.chart import draw_scores

    started = _started(json_path, plot)
    values = bench.run(numbers, jobs=jobs)
    _show("quality", started, values, json_path)
    if plot is not None:
        draw_scores(values, bench.TARGETS, plot)


@benches.command()
def classes(seeds: Seeds = "1", plot: Plot = None, json_path: Json = None, verbose: Verbose = False) -> None:
    """Quality and cost at 4 and at 32 classes; about 4 minutes a seed on 2 cores."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import classes as bench
    from focus_core.bench.chart import draw_scores

    started = _started(json_path, plot)
    values = bench.run(numbers)
    _show("classes", started, values, json_path)
    if plot is not None:
        draw_scores(values, {}, plot, bench.LABELS)


@benches.command()
def aggregate(
    out: Out,
    plots: Annotated[int, typer.Option("--plots", min=1, help="Turned plots on the field.")] = 1000,
    bands: Annotated[int, typer.Option("--bands", min=1, help="Bands of the store.")] = 200,
    side_px: Annotated[int, typer.Option("--side", min=16, help="Rows and columns of the store.")] = 2000,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of every method.")] = 2,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements of each method.")] = 1,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Time and memory of plot statistics over reading the store."""
    from focus_core.bench import aggregate as bench

    started = time.perf_counter()
    values = bench.run(folder=out, plots=plots, bands=bands, side_px=side_px, threads=threads, repeats=repeats)
    _show("aggregate", started, values, json_path)


@benches.command()
def campaign(
    out: Out,
    tiles: Annotated[int, typer.Option("--tiles", min=1, help="Windows of the smallest campaign.")] = 16,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements of each figure.")] = 2,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Explaining a campaign, by area and over bare passes; about 12 minutes on 2 cores."""
    from focus_core.bench import campaign as bench

    started = time.perf_counter()
    _show("campaign", started, bench.run(folder=out, tiles=tiles, repeats=repeats), json_path)


@benches.command()
def ingest(
    scratch: Scratch = None,
    gigabytes: Annotated[
        float, typer.Option("--gigabytes", min=0.001, help="Raw counts of the smaller of two flights, GB.")
    ] = 3.0,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Ingests of each flight.")] = 1,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Time and memory from raw counts to a published cube."""
    from focus_core.bench import ingest as bench

    started = _started(json_path)
    values = bench.run(scratch=scratch, gigabytes=gigabytes, repeats=repeats)
    _show("ingest", started, values, json_path)


@benches.command()
def tiles(
    scratch: Scratch = None,
    side_px: Annotated[int, typer.Option("--side", min=64, help="Rows and columns of the smallest flight.")] = 512,
    bands: Annotated[int, typer.Option("--bands", min=2, help="Bands of the flights.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Readings of each flight.")] = 3,
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Rate of tiles into batches over that of a raw memory map."""
    from focus_core.bench import tiles as bench

    started = _started(json_path)
    values = bench.run(scratch=scratch, side_px=side_px, bands=bands, repeats=repeats)
    _show("tiles", started, values, json_path)


@benches.command()
def noise(seeds: Seeds = "1", plot: Plot = None, json_path: Json = None, verbose: Verbose = False) -> None:
    """Curves and maps from 0 to 4 % reflectance of noise, sink on and off; about 3 minutes a seed on 2 cores."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import noise_ladder as bench
    from focus_core.bench.chart import draw_scores

    started = _started(json_path, plot)
    values = bench.run(numbers)
    _show("noise", started, values, json_path)
    if plot is not None:
        draw_scores(values, {}, plot, bench.LABELS)


@benches.command()
def sink(seeds: Seeds = "1,2,3", json_path: Json = None, verbose: Verbose = False) -> None:
    """Other sinks and wirings, with and without a planted collapse."""
    numbers = _whole_numbers(seeds)
    from focus_core.bench import sink as bench

    started = _started(json_path)
    _show("sink", started, bench.run(numbers), json_path)


@benches.command()
def treatments(
    shuffles: Annotated[int, typer.Option("--shuffles", min=1, help="Exchanges of labels within blocks.")] = 1000,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Generated trials behind each power.")] = 300,
    plots: Annotated[str, typer.Option("--plots", help="Plots of each treatment, with commas.")] = "9,18,30,36,42",
    json_path: Json = None,
    verbose: Verbose = False,
) -> None:
    """Count false claims and finds of the comparison of treatments."""
    numbers = _whole_numbers(plots, "--plots")
    from focus_core.bench import treatments as bench

    started = _started(json_path)
    _show("treatments", started, bench.run(shuffles=shuffles, trials=trials, plots=numbers), json_path)


def _whole_numbers(text: str, option: str = "--seeds") -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise SettingsError(f"{option} '{text}': expected whole numbers with commas, as in 1,2,3")
    return tuple(int(number) for number in numbers)


def _started(json_path: str | None, plot: str | None = None) -> float:
    """Return the time, once it is known that what takes an hour to measure can be written.

    A bench with a folder of its own makes it, and that may be the one; the steps that it ran are not run again.
    """
    for option, path in (("--json", json_path), ("--plot", plot)):
        if path is not None and path != "-" and not os.access(Path(path).absolute().parent, os.W_OK):
            raise TargetError(f"{option} '{path}' cannot be written; make its folder, or choose another")
    if plot is not None:
        from matplotlib.figure import Figure

        known = Figure().canvas.get_supported_filetypes()
        if Path(plot).suffix.removeprefix(".") not in known:
            raise TargetError(f"--plot '{plot}' is of no known format; end it in one of {', '.join(known)}")
    return time.perf_counter()


def _show(name: str, started: float, values: Mapping[str, Sequence[float]], json_path: str | None) -> None:
    """Show the figures as a table, and write them to ``--json`` too."""
    title = f"focus bench {name}: {time.perf_counter() - started:.1f} s"
    emit(title, values, None)
    if json_path is not None:
        emit(title, values, json_path)
