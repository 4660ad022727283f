"""The files of a flight as a drone team delivers them: ENVI scans, plot polygons, masks, the campaign file.

Knows formats only; what the numbers mean is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import rasterio
import yaml
from pyproj import CRS as ProjCRS
from shapely.geometry import Polygon

from focus_core.simulation.layout import CLASSES, CRS, Grid, Layout

_UTM_ZONE = "33, North, WGS-84"


@dataclass(frozen=True)
class EnviHeader:
    """What the header of a scan says; a scan without a grid is a reference."""

    description: str
    wavelength: npt.NDArray[np.float64]
    """``(band,)``, nm."""
    fwhm_nm: float
    lines: int
    samples: int
    grid: Grid | None = None
    first_sample: int = 0
    """Column of the grid at which the scan starts."""

    def text(self) -> str:
        """Return the header's text."""
        centres = ", ".join(f"{nm:.2f}" for nm in self.wavelength)
        widths = ", ".join(f"{self.fwhm_nm:.2f}" for _ in self.wavelength)
        fields = {
            "description": f"{{{self.description}}}",
            "samples": self.samples,
            "lines": self.lines,
            "bands": len(self.wavelength),
            "header offset": 0,
            "file type": "ENVI Standard",
            "data type": 12,
            "interleave": "bil",
            "byte order": 0,
            "sensor type": "simulated",
            "wavelength units": "Nanometers",
            "wavelength": f"{{{centres}}}",
            "fwhm": f"{{{widths}}}",
        }
        if self.grid is not None:
            easting = round(self.grid.x + self.first_sample * self.grid.pixel_m, 4)
            pixel = self.grid.pixel_m
            fields["map info"] = (
                f"{{UTM, 1, 1, {easting!r}, {self.grid.y!r}, {pixel!r}, {pixel!r}, {_UTM_ZONE}, units=Meters}}"
            )
            fields["coordinate system string"] = f"{{{ProjCRS(CRS).to_wkt('WKT1_ESRI')}}}"
        return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())


def write_envi(path: Path, header: EnviHeader, counts: npt.NDArray[np.uint16]) -> None:
    """Write a scan's whole data file, and its header beside it.

    Parameters
    ----------
    path
        The data file; the header takes its name with ``.hdr``.
    header
        What the header says.
    counts
        ``(y, band, x)``, counts.
    """
    path.with_suffix(".hdr").write_text(header.text(), encoding="ascii")
    counts.astype("<u2").tofile(path)


def write_plots(path: Path, layout: Layout) -> None:
    """Write the plots as a GeoPackage with the properties plot, label and block.

    A GeoPackage carries a metric CRS, which GeoJSON since RFC 7946 does not.
    """
    frame = gpd.GeoDataFrame(
        {
            "plot": [plot.name for plot in layout.plots],
            "label": [CLASSES[plot.label] for plot in layout.plots],
            "block": [plot.block for plot in layout.plots],
        },
        geometry=[Polygon(layout.outline(plot)) for plot in layout.plots],
        crs=CRS,
    )
    # GDAL stamps the time of writing otherwise, and the same settings would give other bytes.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    try:
        frame.to_file(path, layer="plots", driver="GPKG", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def write_mask(path: Path, mask: npt.NDArray[np.bool_], grid: Grid) -> None:
    """Write an expert mask ``(y, x)`` as a GeoTIFF on the flight's grid; 1 where the class shows."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.lines,
        width=grid.samples,
        count=1,
        dtype="uint8",
        crs=CRS,
        transform=grid.transform,
        compress="deflate",
    ) as file:
        file.write(mask.astype(np.uint8), 1)
        file.update_tags(source="simulated truth")


def write_campaign(path: Path, content: Mapping[str, Any]) -> None:
    """Write a campaign file; a comment on top says that it is simulated."""
    text = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=100)
    path.write_text(f"# Simulated by `focus simulate`: no camera ever saw this field.\n{text}", encoding="utf-8")
