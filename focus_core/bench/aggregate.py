"""Mean, spread and area of turned plots from a simulated store, against reading it alone and against packaged tools.

Every method runs in a process of its own, so that its peak memory is its own; times leave imports out and files are in
the system's cache. What they have in common is the store, the plots and the number of threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rioxarray  # noqa: F401 - registers the accessor that writes the grid
import shapely
import shapely.affinity
import xarray as xr
from rasterio import Affine

from focus_core.bench.process import alone, peak_mb
from focus_core.bench.zonal import METHODS, Spent
from focus_core.config import Settings
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.schema import CUBE, WAVELENGTH_ATTRS
from focus_core.cubes.store import quantised, write_store

_PIXEL_M = 0.1
_CRS = "EPSG:32633"
_CHUNK = (20, 256, 256)
_ANGLE_DEG = 10.0
_FILLED = (0.6, 0.7)
"""Width and height of a plot as shares of its cell of the field."""
_EXACT = "exactextract"


class _StoreSize(Settings):
    """Size of the simulated store."""

    bands: int
    """Number of bands."""
    side_px: int
    """Rows and columns, pixels."""


class Outcome(NamedTuple):
    """What one method gave, and its cost."""

    spent: Spent
    peak_mb: float
    """Largest resident memory of the process, MB."""
    values: dict[str, npt.NDArray[np.float64]]
    """``mean`` and, where the method has it, ``std``: ``(plot, band)``."""


def run(
    *, folder: str, plots: int = 1000, bands: int = 200, side_px: int = 2000, threads: int = 2, repeats: int = 1
) -> dict[str, list[float]]:
    """Write a simulated store, measure every method on it and compare the results.

    Parameters
    ----------
    folder
        Where ``cube.zarr`` is written, unless one of this size is there already.
    plots
        Number of plots, on a regular field of cells, each turned by ten degrees.
    bands, side_px
        Size of the store: ``(bands, side_px, side_px)`` int16.
    threads
        Threads of every method.
    repeats
        Measurements of each method.

    Returns
    -------
    dict[str, list[float]]
        For each method ``<method>.seconds``, ``.over_reading`` (times the time of ``read``), ``.cpu_over_reading``
        (the same of processor time, which says more on a machine that does other work) and ``.peak_mb``; for ours,
        ``focus.mean_error`` and ``focus.std_error``, the largest difference from exactextract relative to the value;
        for flox and xvec likewise, which says what whole pixels lose.
    """
    uri, size = Path(folder) / "cube.zarr", _StoreSize(bands=bands, side_px=side_px)
    written = publish(uri, step="bench", inputs={}, settings=size, write=lambda target: _write(target, size))
    frame = field(plots, side_px)
    values: dict[str, list[float]] = {"megabytes": [written["megabytes"]]}
    for _ in range(repeats):
        found = {name: alone(_measure, name, str(uri), frame, threads) for name in METHODS}
        floor = found["read"].spent
        for name, outcome in found.items():
            row = {
                "seconds": outcome.spent.wall,
                "over_reading": outcome.spent.wall / floor.wall,
                "cpu_over_reading": outcome.spent.cpu / floor.cpu,
                "peak_mb": outcome.peak_mb,
                **_errors(outcome, found[_EXACT]),
            }
            for key, value in row.items():
                values.setdefault(f"{name}.{key}", []).append(value)
    return values


def field(plots: int, side_px: int) -> gpd.GeoDataFrame:
    """Return turned plots that fill a square image, in rows and columns."""
    rows = max(1, round((plots * _FILLED[0] / _FILLED[1] * 0.73) ** 0.5))
    cols = -(-plots // rows)
    wide, high = side_px / cols, side_px / rows
    shapes = []
    for number in range(plots):
        x, y = (number % cols + 0.5) * wide, (number // cols + 0.5) * high
        half = (_FILLED[0] * wide / 2, _FILLED[1] * high / 2)
        shape = shapely.affinity.rotate(shapely.box(x - half[0], y - half[1], x + half[0], y + half[1]), _ANGLE_DEG)
        shapes.append(shapely.transform(shape, lambda xy: xy * [_PIXEL_M, -_PIXEL_M]))
    ids = [f"P{number:05d}" for number in range(plots)]
    return gpd.GeoDataFrame(geometry=shapes, index=ids, crs=_CRS).rename_axis("plot")


def _write(target: Path, size: _StoreSize) -> Metrics:
    """Write a smooth field under noise, chunk by chunk: about as hard to pack as a flight."""
    bands, side_px = size.bands, size.side_px
    centre = np.arange(side_px) + 0.5
    transform = Affine(_PIXEL_M, 0.0, 0.0, 0.0, -_PIXEL_M, 0.0)
    pixels = da.map_blocks(
        _pixels, chunks=tuple(da.core.normalize_chunks(_CHUNK, (bands, side_px, side_px))), dtype=np.float32
    )
    dataset = xr.Dataset(
        {
            "reflectance": (("band", "y", "x"), pixels),
            "valid": (("y", "x"), da.ones((side_px, side_px), dtype=np.bool_, chunks=_CHUNK[1:])),
        },
        coords={
            "y": centre * transform.e,
            "x": centre * transform.a,
            "wavelength": ("band", np.linspace(400.0, 2500.0, bands), WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(bands, 10.0), {"units": "nm"}),
            "good_band": ("band", np.ones(bands, dtype=np.bool_)),
        },
        attrs={"quantity": "reflectance", "campaign": "bench", "simulated": True},
    )
    chunks = tuple(min(step, size) for step, size in zip(_CHUNK, (bands, side_px, side_px), strict=True))
    placed = dataset.rio.write_transform(transform).rio.write_crs(_CRS)
    write_store(placed, target, CUBE, encoding={"reflectance": {**quantised(), "chunks": chunks}})
    return {"megabytes": bands * side_px**2 * 2 / 1e6}


def _pixels(block_info: Any = None) -> npt.NDArray[np.float32]:
    spans = block_info[None]["array-location"]
    rng = np.random.default_rng([lo for lo, _ in spans])
    band, y, x = np.ogrid[tuple(slice(lo, hi) for lo, hi in spans)]
    smooth = 0.3 + 0.1 * np.sin(band / 30.0) + 0.05 * np.sin(y / 90.0) * np.cos(x / 70.0)
    noise = rng.integers(-30, 31, size=tuple(hi - lo for lo, hi in spans), dtype=np.int16)
    return np.asarray(smooth + noise * 1e-4, dtype=np.float32)


def _measure(method: str, uri: str, plots: gpd.GeoDataFrame, threads: int) -> Outcome:
    with dask.config.set(scheduler="threads", num_workers=threads):
        spent, values = METHODS[method](uri, plots)
    return Outcome(spent, peak_mb(), values)


def _errors(outcome: Outcome, exact: Outcome) -> dict[str, float]:
    return {
        f"{name}_error": float(np.abs(values / exact.values[name] - 1.0).max())
        for name, values in outcome.values.items()
        if outcome is not exact
    }
