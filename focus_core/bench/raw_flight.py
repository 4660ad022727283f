"""A simulated flight of any size, written piece by piece: for benches of time and memory, not of science.

Counts are a smooth field under noise, about as hard to pack as a real flight; what grows there means nothing.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from focus_core.simulation.files import EnviHeader, write_campaign, write_envi
from focus_core.simulation.layout import CRS, Grid

_PIXEL_M = 0.1
_PLOT_PX, _PITCH_PX = 60, 64
_LINES_AT_ONCE = 64
_REFERENCE_LINES = 16
_WHITE, _DARK = 30_000.0, 400.0
_NOISE = 0.003
"""Standard deviation over the light on the panel."""


def write_flight(folder: Path, *, lines: int, samples: int, bands: int) -> Path:
    """Write an ENVI scan with its references, its plots and its campaign file, and return the latter's path.

    Parameters
    ----------
    folder
        An empty folder.
    lines, samples, bands
        Size of the scan, uint16 counts in BIL order.
    """
    nm = np.linspace(400.0, 1000.0, bands)
    grid = Grid(x=412_000.0, y=5_821_000.0, pixel_m=_PIXEL_M, lines=lines, samples=samples)
    rng = np.random.default_rng(0)
    response = 0.5 + 0.4 * np.sin(np.linspace(0.3, 2.8, bands)) + rng.normal(0, 0.01, (samples, bands))
    light = np.ascontiguousarray((_WHITE * response).T, dtype=np.float32)
    for name, level in (("white", light), ("dark", 0.0 * light)):
        counts = _exposed(np.broadcast_to(level, (_REFERENCE_LINES, bands, samples)), rng)
        header = EnviHeader(f"Simulated {name} reference", nm, 5.0, _REFERENCE_LINES, samples)
        write_envi(folder / f"{name}.raw", header, counts)
    header = EnviHeader("Simulated flight for a bench", nm, 5.0, lines, samples, grid)
    (folder / "flight.hdr").write_text(header.text(), encoding="ascii")
    with (folder / "flight.raw").open("wb") as file:
        for start in range(0, lines, _LINES_AT_ONCE):
            rows = np.arange(start, min(start + _LINES_AT_ONCE, lines))
            _exposed(light * _reflectance(rows, samples, bands), rng).tofile(file)
    _plots(grid).to_file(folder / "plots.gpkg", driver="GPKG", engine="pyogrio")
    content = {
        "campaign": "bench",
        "date": "2026-06-01",
        "sensor": "simulated",
        "quantity": "reflectance",
        "simulated": True,
        "crs": CRS,
        "cubes": [{"image": "flight.raw", "white": "white.raw", "dark": "dark.raw"}],
        "plots": {"file": "plots.gpkg"},
        "classes": ["control", "drought"],
        "window": {"size_px": 24, "stride_px": 12},
    }
    write_campaign(folder / "campaign.yaml", content)
    return folder / "campaign.yaml"


def _reflectance(rows: npt.NDArray[np.int64], samples: int, bands: int) -> npt.NDArray[np.float32]:
    """Return a smooth field ``(y, band, x)``."""
    band = 0.3 + 0.1 * np.sin(np.arange(bands, dtype=np.float32) / 30.0)
    place = 1.0 + 0.2 * np.sin(rows[:, None] / 90.0) * np.cos(np.arange(samples) / 70.0)
    return np.asarray(band[:, None] * place[:, None, :], dtype=np.float32)


def _exposed(light: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return np.asarray(_DARK + light + _NOISE * _WHITE * noise, dtype=np.float32).clip(0, 65_534).astype(np.uint16)


def _plots(grid: Grid) -> gpd.GeoDataFrame:
    """Return square plots all over the image, two classes in turn, a row of them to a block."""
    down, across = (max((length - 4) // _PITCH_PX, 1) for length in (grid.lines, grid.samples))
    places = [(row, col) for row in range(down) for col in range(across)]
    corners = np.array([(grid.x + (4 + col * _PITCH_PX) * _PIXEL_M, grid.y - (4 + row * _PITCH_PX) * _PIXEL_M)
                        for row, col in places])  # fmt: skip
    side = _PLOT_PX * _PIXEL_M
    return gpd.GeoDataFrame(
        {
            "plot": [f"P{number:06d}" for number in range(len(places))],
            "label": [("control", "drought")[(row + col) % 2] for row, col in places],
            "block": [f"B{row}" for row, _ in places],
        },
        geometry=[shapely.box(x, y - side, x + side, y) for x, y in corners],
        crs=CRS,
    )
