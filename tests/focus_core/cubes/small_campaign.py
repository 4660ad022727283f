"""A small generated field with known reflectance, in the files that a drone team delivers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import yaml
from rasterio import Affine
from rasterio.crs import CRS

from focus_core.config import CampaignFile

ROWS, COLS, BANDS, PIXEL = 48, 60, 24, 0.5
X, Y = 412_000.0, 5_821_000.0
WAVELENGTH = np.linspace(420.0, 2380.0, BANDS).round(2)
TRANSFORM = Affine(PIXEL, 0.0, X, 0.0, -PIXEL, Y)
TYPE_CODES = {"uint8": 1, "int16": 2, "int32": 3, "float32": 4, "float64": 5, "uint16": 12, "uint32": 13, "int64": 14}
ORDERS = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def write_envi(
    path: Path,
    cube: npt.NDArray[Any],
    *,
    interleave: str = "bil",
    byte_order: int = 0,
    without: tuple[str, ...] = (),
    **fields: str,
) -> Path:
    """Write ``cube (band, y, x)``; `fields` are header keys with underscores for spaces."""
    bands, rows, cols = cube.shape
    header = {
        "samples": cols,
        "lines": rows,
        "bands": bands,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": TYPE_CODES[cube.dtype.name],
        "interleave": interleave,
        "byte order": byte_order,
        "wavelength units": "Nanometers",
        "wavelength": "{" + ", ".join(f"{nm}" for nm in np.linspace(420.0, 2380.0, bands).round(2)) + "}",
    }
    header |= {key.replace("_", " "): value for key, value in fields.items()}
    text = "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in header.items() if key not in without)
    path.with_suffix(".hdr").write_text(text, encoding="utf-8")
    cube.transpose(ORDERS.get(interleave, (0, 1, 2))).astype(cube.dtype.newbyteorder("<>"[int(byte_order) % 2])).tofile(
        path
    )
    return path


@dataclass
class Field:
    """A written field: where it lies, and the reflectance it was made from."""

    folder: Path
    content: dict[str, Any]
    reflectance: npt.NDArray[np.float64]
    """``(band, y, x)``."""
    plots: list[dict[str, Any]]

    @property
    def campaign(self) -> Path:
        return self.folder / "campaign.yaml"

    def write(self, **changes: Any) -> "Field":
        """Write the campaign file anew with other keys; None leaves a key out."""
        self.content |= changes
        content = {key: value for key, value in self.content.items() if value is not None}
        self.campaign.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return self

    def write_plots(self, plots: list[dict[str, Any]] | None = None) -> "Field":
        self.plots = self.plots if plots is None else plots
        write_plots(self.folder / "plots.geojson", self.plots)
        return self

    def file(self) -> CampaignFile:
        return CampaignFile(self.campaign)


def square(col: float, row: float, width: float, height: float, *, to_map: bool = True) -> list[list[float]]:
    """A rectangle in pixels as a ring of map coordinates."""
    corners = [(col, row), (col + width, row), (col + width, row + height), (col, row + height), (col, row)]
    if not to_map:
        return [list(corner) for corner in corners]
    return [[X + PIXEL * across, Y - PIXEL * down] for across, down in corners]


def plot(name: Any, label: str | None, block: str | None, ring: list[list[float]]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"plot": name, "label": label, "block": block},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def write_plots(path: Path, plots: list[dict[str, Any]], *, epsg: int | None = 32633) -> None:
    content: dict[str, Any] = {"type": "FeatureCollection", "features": plots}
    if epsg is not None:
        content["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}}
    path.write_text(json.dumps(content), encoding="utf-8")


def write_mask(path: Path, mask: npt.NDArray[np.bool_], transform: Any = TRANSFORM, crs: int = 32633) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=mask.shape[0], width=mask.shape[1], count=1, dtype="uint8",
        crs=CRS.from_epsg(crs), transform=transform,
    ) as file:  # fmt: skip
        file.write(mask.astype(np.uint8), 1)


def map_info(first_col: int = 0, first_row: int = 0) -> str:
    x, y = X + PIXEL * first_col, Y - PIXEL * first_row
    return f"{{UTM, 1, 1, {x}, {y}, {PIXEL}, {PIXEL}, 33, North, WGS-84, units=Meters}}"


def make_reflectance(seed: int = 0) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    spectrum = 0.25 + 0.15 * np.sin(np.linspace(0.0, 5.0, BANDS))
    brightness = 1.0 + 0.2 * rng.standard_normal((ROWS, COLS))
    return np.clip(spectrum[:, None, None] * brightness + 0.002 * rng.standard_normal((BANDS, ROWS, COLS)), 0.01, 1.0)


def make_field(folder: Path) -> Field:
    """Two strips side by side with references, eight plots in four blocks, one mask."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    reflectance = make_reflectance()
    cubes = []
    for number, (left, right) in enumerate(((0, 28), (28, COLS)), start=1):
        width = right - left
        dark = 200.0 + 10.0 * rng.random((BANDS, 1, width))
        span = 20_000.0 * (0.8 + 0.2 * rng.random((BANDS, 1, width)))
        lines = np.ones((1, 4, 1))
        scan = dark + span * reflectance[:, :, left:right] / 0.5
        for role, values in (("", scan), ("-white", (dark + span) * lines), ("-dark", dark * lines)):
            fields = {"map_info": map_info(left)} if not role else {}
            write_envi(folder / f"strip-{number}{role}.raw", values.round().astype(np.uint16), **fields)
        stem = f"strip-{number}"
        cubes.append(
            {
                "image": f"{stem}.raw",
                "white": f"{stem}-white.raw",
                "dark": f"{stem}-dark.raw",
                "panel_reflectance": 0.5,
            }
        )
    plots = [
        plot(f"P{block}{label[0]}", label, f"B{block}", square(3.3 + 14 * block, 4.4 + 20 * row, 11, 15))
        for block in range(4)
        for row, label in enumerate(("control", "drought"))
    ]
    mask = np.zeros((ROWS, COLS), dtype=np.bool_)
    mask[24:40] = True
    write_mask(folder / "drought.tif", mask)
    content = {
        "campaign": "small-field",
        "date": "2026-06-01",
        "sensor": "generated camera",
        "quantity": "reflectance",
        "crs": "EPSG:32633",
        "cubes": cubes,
        "plots": {"file": "plots.geojson"},
        "classes": ["control", "drought"],
        "reference_class": "control",
        "masks": {"drought": "drought.tif"},
        "ranges_nm": {"drought": [[1450.0, 1800.0]]},
        "null_ranges_nm": [[700.0, 800.0]],
        "window": {"size_px": 8, "stride_px": 4, "input_px": 8},
        "folds": {"train": 0.25, "validation": 0.25, "gate": 0.25, "test": 0.25},
    }
    return Field(folder, content, reflectance, plots).write().write_plots()
