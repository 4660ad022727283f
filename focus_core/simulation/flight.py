"""One simulated flight over the field: its scans, masks, truth and campaign file in one folder.

Knows the order of work; the physics, the formats and the field are their own modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import CRS as ProjCRS

from focus_core.config import SimulateSettings, parse_groups
from focus_core.config.groups import OUTSIDE
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.schema import REFERENCE, WAVELENGTH_ATTRS
from focus_core.cubes.store import write_store
from focus_core.simulation.canopy import CanopyTable, canopy_spectra, soil_spectra
from focus_core.simulation.files import EnviHeader, write_campaign, write_envi, write_mask, write_plots
from focus_core.simulation.layout import CLASSES, CONTROL, CRS, Grid
from focus_core.simulation.scene import Bands, Spots, Stage, reflectance, spots
from focus_core.simulation.sensor import (
    PANEL_REFLECTANCE,
    WATER_WINDOWS_NM,
    Sensor,
    calibrate,
    draw_strip,
    drift,
)
from focus_core.simulation.trial import Trial
from focus_core.simulation.truth import Moments, Truth

SOURCE = "simulated truth"
_SENSOR_NAME = "simulated VNIR-SWIR pushbroom camera"
_STRIPS = 2
_CHUNK_LINES = 32


def sensor_for(stage: Stage, settings: SimulateSettings) -> Sensor:
    """Return the camera under a stage's sun; its outermost bands lie half a width inside 400-2500 nm."""
    edge = settings.fwhm_nm / 2.0
    centres = np.linspace(400.0 + edge, 2500.0 - edge, settings.bands).round(2)
    return Sensor(centres, settings.fwhm_nm, stage.sun_zenith_deg, settings.noise)


def within(wavelength: npt.NDArray[np.float64], ranges: tuple[tuple[float, float], ...]) -> npt.NDArray[np.bool_]:
    """Return which bands ``(band,)`` have their centre in one of the ranges, both ends included, nm."""
    inside = np.zeros(wavelength.shape, bool)
    for low, high in ranges:
        inside |= (wavelength >= low) & (wavelength <= high)
    return inside


def bands_for(sensor: Sensor, settings: SimulateSettings) -> Bands:
    """Compute the spectra in the sensor's bands and mark the planted ones."""
    dry, wet = soil_spectra()
    planted = (settings.shortcut_nm,) if settings.shortcut_class else ()
    return Bands(
        canopy=CanopyTable(sensor.to_bands(canopy_spectra(sensor.sun_zenith_deg))),
        dry_soil=sensor.to_bands(dry),
        wet_soil=sensor.to_bands(wet),
        null=within(sensor.wavelength, settings.null_ranges_nm),
        shortcut=within(sensor.wavelength, planted),
    )


def write_flight(folder: Path, trial: Trial, stage: Stage, settings: SimulateSettings) -> Metrics:
    """Write everything of one flight into a folder, and return what describes it."""
    folder.mkdir()
    sensor = sensor_for(stage, settings)
    bands = bands_for(sensor, settings)
    grid = trial.layout.grid(east_px=stage.east_px, north_px=stage.north_px)
    here = spots(trial, grid)
    pixels = _pixels(trial, here)
    flight = _Flight(folder, trial, stage, settings, sensor, bands, grid)
    moments = Moments(len(sensor.wavelength))
    for number, columns in enumerate(np.array_split(np.arange(grid.samples), _STRIPS)):
        part = slice(int(columns[0]), int(columns[-1]) + 1)
        flight.write_strip(number, part, here, pixels, moments)
    good = ~within(sensor.wavelength, WATER_WINDOWS_NM)
    seen = parse_groups(settings.groups).of_bands(sensor.wavelength, good) != OUTSIDE
    truth = Truth(sensor.wavelength, moments.effect_size(), seen & ~bands.null & ~bands.shortcut)
    write_plots(folder / "plots.gpkg", trial.layout)
    masks = {}
    for name, mask in zip(CLASSES, pixels, strict=True):
        if name != CONTROL:
            masks[name] = f"mask-{name}.tif"
            write_mask(folder / masks[name], mask, grid)
    write_campaign(folder / "campaign.yaml", flight.campaign(truth, masks))
    _write_reference(folder / "reference.zarr", flight, truth, pixels)
    return flight.metrics(truth, pixels)


def _pixels(trial: Trial, here: Spots) -> npt.NDArray[np.bool_]:
    """Pixels ``(cls, y, x)`` that show each class: stressed ones, and all of the control's; no sheet."""
    label, severity = trial.label()[here.v, here.u], trial.severity[here.v, here.u]
    bare = trial.sheet[here.v, here.u]
    return np.stack(
        [(label == index) & ~bare & ((severity > 0.0) | (name == CONTROL)) for index, name in enumerate(CLASSES)]
    )


@dataclass(frozen=True)
class _Flight:
    folder: Path
    trial: Trial
    stage: Stage
    settings: SimulateSettings
    sensor: Sensor
    bands: Bands
    grid: Grid

    @property
    def name(self) -> str:
        return f"simulated-{self.stage.name}"

    def write_strip(
        self,
        number: int,
        columns: slice,
        here: Spots,
        pixels: npt.NDArray[np.bool_],
        moments: Moments,
    ) -> None:
        """Fly one line: references first, then the scan in chunks of lines."""
        seed = np.random.SeedSequence([self.settings.seed, self.stage.date.toordinal(), number])
        rng, light_rng = (np.random.default_rng(child) for child in seed.spawn(2))
        lines, samples = self.grid.lines, columns.stop - columns.start
        strip = draw_strip(self.sensor, samples, rng)
        white, dark = strip.reference(PANEL_REFLECTANCE, rng), strip.reference(0.0, rng)
        light = drift(lines, samples, self.settings.illumination_drift, light_rng)
        counts = np.empty((lines, len(self.sensor.wavelength), samples), np.uint16)
        for start in range(0, lines, _CHUNK_LINES):
            part = slice(start, min(start + _CHUNK_LINES, lines))
            spot = Spots(here.v[part, columns], here.u[part, columns])
            scene = reflectance(self.trial, self.stage, spot, self.bands, self.settings, rng)
            counts[part] = strip.counts(scene, light[part], rng)
            moments.add(calibrate(counts[part], white, dark), pixels[:, part, columns])
        stem = f"strip-{number + 1}"
        for suffix, what, data, grid in (
            ("", "raw counts", counts, self.grid),
            ("-white", "white reference counts", white, None),
            ("-dark", "dark reference counts", dark, None),
        ):
            header = EnviHeader(
                description=f"Simulated {what} of {self.name} strip {number + 1}",
                wavelength=self.sensor.wavelength,
                fwhm_nm=self.sensor.fwhm_nm,
                lines=len(data),
                samples=samples,
                grid=grid,
                first_sample=columns.start,
            )
            write_envi(self.folder / f"{stem}{suffix}.raw", header, data)

    def campaign(self, truth: Truth, masks: Mapping[str, str]) -> dict[str, Any]:
        """Return the content of the campaign file."""
        strips = [f"strip-{number + 1}" for number in range(_STRIPS)]
        side = self.settings.window_px
        return {
            "campaign": self.name,
            "date": self.stage.date,
            "sensor": _SENSOR_NAME,
            "quantity": "reflectance",
            "simulated": True,
            "crs": CRS,
            "cubes": [
                {
                    "image": f"{strip}.raw",
                    "white": f"{strip}-white.raw",
                    "dark": f"{strip}-dark.raw",
                    "panel_reflectance": PANEL_REFLECTANCE,
                }
                for strip in strips
            ],
            "plots": {"file": "plots.gpkg", "id": "plot", "label": "label", "block": "block"},
            "classes": list(CLASSES),
            "reference_class": CONTROL,
            "masks": dict(masks),
            "ranges_nm": truth.ranges_nm(),
            "groups": self.settings.groups,
            "bad_ranges_nm": [list(pair) for pair in WATER_WINDOWS_NM],
            "null_ranges_nm": [list(pair) for pair in self.settings.null_ranges_nm],
            "window": {"size_px": side, "stride_px": self.settings.stride_px, "input_px": side},
        }

    def metrics(self, truth: Truth, pixels: npt.NDArray[np.bool_]) -> Metrics:
        """Describe the flight, names prefixed with its own."""
        label = self.trial.label()
        prefix = self.stage.name.replace("-", "_")
        found = {"lines": float(self.grid.lines), "samples": float(self.grid.samples)}
        for index, (name, reference) in enumerate(zip(CLASSES, truth.reference(), strict=True)):
            if name != CONTROL:
                area = max(int((label == index).sum()), 1)
                found[f"{name}.stressed_share"] = float(pixels[index].sum() / area)
                found[f"{name}.reference_bands"] = float(reference.sum())
                found[f"{name}.largest_effect"] = float(
                    np.nan_to_num(truth.effect_size[index][truth.eligible]).max(initial=0.0)
                )
        return {f"{prefix}.{key}": value for key, value in found.items()}


def _write_reference(folder: Path, flight: _Flight, truth: Truth, pixels: npt.NDArray[np.bool_]) -> None:
    """Write the truth as a reference store; the control has neither bands nor a mask of its own."""
    stressed = np.array([name != CONTROL for name in CLASSES])
    reference = truth.reference()
    dataset = xr.Dataset(
        {
            "effect_size": (("cls", "band"), truth.effect_size, {"units": "1"}),
            "reference": (("cls", "band"), reference),
            "mask": (("cls", "y", "x"), pixels & stressed[:, None, None], {"grid_mapping": "spatial_ref"}),
        },
        coords={
            "cls": np.array(CLASSES, dtype=object),  # fixed-width strings have no Zarr v3 specification
            "wavelength": ("band", truth.wavelength, WAVELENGTH_ATTRS),
            "null_band": ("band", flight.bands.null),
            "has_reference": ("cls", reference.any(axis=1)),
            "has_mask": ("cls", stressed),
            "y": ("y", flight.grid.northings(), {"units": "m"}),
            "x": ("x", flight.grid.eastings(), {"units": "m"}),
            "spatial_ref": ((), 0, ProjCRS(CRS).to_cf()),
        },
        attrs={"campaign": flight.name, "source": SOURCE, "simulated": True},
    )

    def write(target: Path) -> Metrics:
        write_store(dataset, target, REFERENCE, encoding={})
        return {"reference_bands": float(reference.sum())}

    publish(folder, step="simulate", inputs={}, settings=flight.settings, write=write)
