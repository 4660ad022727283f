"""The step ``ingest``: raw flight files in, ``cube.zarr`` and ``reference.zarr`` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import rioxarray  # noqa: F401 - registers `.rio`
import xarray as xr
import zarr
from dask.callbacks import Callback
from rich.console import Console
from rich.progress import Progress

from focus_core.config import CampaignFile, IngestSettings
from focus_core.cubes.contents import hashing
from focus_core.cubes.crs import same_crs
from focus_core.cubes.flight import Flight, open_flight
from focus_core.cubes.parts import Parts
from focus_core.cubes.pixels import write_pixels
from focus_core.cubes.publish import Metrics, publish
from focus_core.cubes.readers import open_layer
from focus_core.cubes.record import digest, local_path
from focus_core.cubes.remote import is_remote
from focus_core.cubes.schema import CUBE, REFERENCE, SCALE, WAVELENGTH_ATTRS
from focus_core.cubes.store import quantised, write_store
from focus_core.errors import TargetError
from focus_core.steps._status import recorded

_LOGGER = logging.getLogger(__name__)
_STEPS = 32_000


@recorded("cube_uri")
def ingest(campaign_file: str, cube_uri: str, reference_uri: str, *, settings: IngestSettings) -> Metrics:
    """Calibrate a campaign's raw cubes onto one grid, find their bad bands, and publish what experts know beside them.

    Parameters
    ----------
    campaign_file
        Path of the campaign file.
    cube_uri
        Target of ``cube.zarr``.
    reference_uri
        Target of ``reference.zarr``: the campaign's expert ranges and masks.
    settings
        Layout of the cube, and whether damaged cubes are left out.

    Returns
    -------
    Metrics
        ``cubes_left_out``, ``bands``, ``good_bands``, ``bad_bands.*`` by reason (``water_vapour``: noise in a window of
        it, which ``noise`` leaves out), ``rows``, ``cols``, ``valid_share`` and ``invalid_pixels`` of the cube,
        ``quantum`` of its stored numbers, ``group_leakage_max`` where the bands are resampled, ``reference_bands`` and
        ``mask_pixels``.

    Raises
    ------
    CampaignError
        If the campaign file is wrong, or contradicts what it names.
    CubeError
        If a raw file contradicts itself, its header, its references or the campaign, and may not be left out.
    MissingInputError
        If a file does not exist.
    TargetError
        If a target cannot be written, or both are one.
    """
    if len({uri if is_remote(uri) else local_path(uri) for uri in (cube_uri, reference_uri)}) == 1:
        raise TargetError(f"'{cube_uri}' cannot hold both the cube and the reference; give each a target of its own")
    file = CampaignFile(campaign_file)
    file.inputs()
    flight = open_flight(file, chunk_px=settings.chunk_px, leave_out_damaged=settings.leave_out_damaged)
    for item in flight.left_out:
        _LOGGER.warning("%s: '%s' is damaged and left out: %s", file.campaign.campaign, item.name, item.reason)
    masks = _masks(file, flight)
    campaign_digest = digest(file.path)
    with hashing(flight.files) as contents:
        metrics = publish(
            cube_uri,
            step="ingest",
            inputs={"campaign": campaign_digest},
            raw=contents,
            settings=settings,
            write=lambda folder: _write_cube(folder, file, flight, settings),
        )
    mask_files = [file.resolve(("masks", name), text) for name, text in file.campaign.masks.items()]
    found = publish(
        reference_uri,
        step="ingest",
        inputs={
            "campaign": campaign_digest,
            "cube": digest(cube_uri),
            **{str(path): digest(path) for path in mask_files},
        },
        settings=settings,
        write=lambda folder: _write_reference(folder, file, flight, masks),
    )
    return {**metrics, **found}


def _write_cube(folder: Path, file: CampaignFile, flight: Flight, settings: IngestSettings) -> Metrics:
    scale = _quantum(file, flight)
    bands, rows, cols = flight.data.shape
    good = flight.quality.good
    parts = Parts(folder, lambda: _lay_out(folder, file, flight, settings, scale))
    with _progress(f"ingest {file.campaign.campaign}"):
        write_pixels(folder, flight, scale, parts)
    valid = np.asarray(zarr.open_group(folder, mode="r")["valid"])
    _LOGGER.info("%s: %d of %d bands good", file.campaign.campaign, good.sum(), bands)
    return {
        "cubes_left_out": float(len(flight.left_out)),
        "bands": float(bands),
        "good_bands": float(good.sum()),
        **_reasons(flight),
        "rows": float(rows),
        "cols": float(cols),
        "valid_share": float(valid.mean()),
        "invalid_pixels": float(valid.size - valid.sum()),
        "quantum": scale,
        **({} if flight.leaked is None else {"group_leakage_max": float(flight.leaked.max())}),
    }


def _lay_out(folder: Path, file: CampaignFile, flight: Flight, settings: IngestSettings, scale: float) -> None:
    """Write the whole store but for its pixels."""
    bands, rows, cols = flight.data.shape
    pixels = {"grid_mapping": "spatial_ref"}
    dataset = xr.Dataset(
        {
            "reflectance": (("band", "y", "x"), flight.data, {"long_name": file.campaign.quantity, **pixels}),
            "valid": (("y", "x"), da.zeros((rows, cols), dtype=np.bool_, chunks=flight.data.chunks[1:]), pixels),
        },
        coords={**_band_coords(flight), **_grid_coords(flight)},
        attrs=_attrs(file, flight),
    )
    side = (min(settings.chunk_px, rows), min(settings.chunk_px, cols))
    encoding = {
        "reflectance": {**quantised(scale), "chunks": (min(settings.chunk_bands, bands), *side)},
        "valid": {"chunks": side},
    }
    write_store(dataset, folder, CUBE, encoding=encoding, compute=False)


def _quantum(file: CampaignFile, flight: Flight) -> float:
    """Return the step of the stored int16: fixed for reflectance, fitted to the largest number for radiance."""
    if file.campaign.quantity == "reflectance":
        return SCALE

    def largest(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.fmax.reduce(np.abs(block), axis=None, initial=0.0, keepdims=True).astype(np.float32)

    found = flight.data.map_blocks(largest, dtype=np.float32, chunks=(1, 1, 1)).max().compute()
    if not found > 0.0:
        return 1.0
    needed = float(found) / _STEPS
    decade = 10.0 ** np.floor(np.log10(needed))
    return float(next(step for step in decade * np.array([1.0, 2.0, 5.0, 10.0]) if step >= needed))


def _reasons(flight: Flight) -> Metrics:
    counts = {"declared": 0.0, "missing": 0.0, "noise": 0.0, "water_vapour": 0.0}
    for reason in filter(None, flight.quality.reason):
        noise = "water_vapour" if "water-vapour" in reason else "noise"
        kind = noise if reason.startswith("noise") else "missing" if "pixel" in reason else "declared"
        counts[kind] += 1.0
    return {f"bad_bands.{kind}": count for kind, count in counts.items()}


def _band_coords(flight: Flight) -> dict[str, Any]:
    return {
        "wavelength": ("band", flight.nm, WAVELENGTH_ATTRS),
        "fwhm": ("band", flight.fwhm_nm, {"units": "nm", "long_name": "full width at half maximum"}),
        "good_band": ("band", flight.quality.good),
    }


def _grid_coords(flight: Flight) -> dict[str, Any]:
    """Pixel centres and CRS, as CF and rioxarray have them."""
    grid = flight.grid
    frame = xr.Dataset(coords={"y": grid.y, "x": grid.x})
    frame = frame.rio.write_transform(grid.transform)
    if grid.crs is not None:
        frame = frame.rio.write_crs(grid.crs)
        frame = frame.rio.write_coordinate_system()
    else:
        for name in ("y", "x"):
            frame[name].attrs = {
                "units": "1",
                "long_name": f"{name} of the pixel's centre, pixels from the upper left corner",
            }
    return {name: frame[name].variable for name in ("y", "x", "spatial_ref")}


def _attrs(file: CampaignFile, flight: Flight) -> dict[str, Any]:
    campaign = file.campaign
    nm, snr = flight.nm, flight.quality.snr
    return {
        "campaign": campaign.campaign,
        "date": campaign.date.isoformat(),
        "sensor": campaign.sensor,
        "quantity": campaign.quantity,
        "simulated": campaign.simulated,
        "sources": [source.describe() for source in flight.sources],
        "left_out": [{"file": item.name, "reason": item.reason} for item in flight.left_out],
        "signal_to_noise": [float(f"{value:.4g}") if np.isfinite(value) else None for value in snr],
        **({} if flight.leaked is None else {"group_leakage": [float(f"{share:.4g}") for share in flight.leaked]}),
        "bad_bands": [
            {"band": band, "wavelength_nm": float(nm[band]), "reason": reason}
            for band, reason in enumerate(flight.quality.reason)
            if reason
        ],
    }


def _masks(file: CampaignFile, flight: Flight) -> dict[str, npt.NDArray[np.bool_]]:
    """Read the expert masks; each must lie on the cube's grid."""
    masks = {}
    for name, text in file.campaign.masks.items():
        where = ("masks", name)
        layer = open_layer(file.resolve(where, text))
        if flight.left_out:  # masks are drawn on all cubes
            layer = layer.part_on(flight.grid)
        if not (layer.grid.same_pixels(flight.grid) and same_crs(layer.grid.crs, flight.grid.crs)):
            ours, theirs = (
                f"{grid.shape} at {tuple(grid.transform)[:6]} in {grid.crs}" for grid in (layer.grid, flight.grid)
            )
            raise file.error(where, f"'{text}' has {ours}, the cube has {theirs}; draw masks on the cube's grid")
        masks[name] = np.asarray(np.nan_to_num(layer.values) != 0)
    return masks


def _write_reference(
    folder: Path, file: CampaignFile, flight: Flight, masks: dict[str, npt.NDArray[np.bool_]]
) -> Metrics:
    campaign, nm = file.campaign, flight.nm
    classes = list(campaign.classes)
    reference = np.zeros((len(classes), len(nm)), dtype=np.bool_)
    for index, name in enumerate(classes):
        reference[index] = _within(nm, campaign.ranges_nm.get(name, []))
    dataset = xr.Dataset(
        {"reference": (("cls", "band"), reference)},
        coords={
            "cls": np.array(classes, dtype=np.dtypes.StringDType()),
            "wavelength": ("band", nm, WAVELENGTH_ATTRS),
            "null_band": ("band", _within(nm, campaign.null_ranges_nm)),
            "has_reference": ("cls", (reference & flight.quality.good).any(axis=1)),
            "has_mask": ("cls", np.array([name in masks for name in classes])),
        },
        attrs={
            "campaign": campaign.campaign,
            "source": "simulated truth" if campaign.simulated else "expert ranges and masks of the campaign file",
            "simulated": campaign.simulated,
        },
    )
    if masks:
        empty = np.zeros((flight.grid.shape.rows, flight.grid.shape.cols), dtype=np.bool_)
        stacked = np.stack([masks.get(name, empty) for name in classes])
        dataset["mask"] = (("cls", "y", "x"), stacked)
    write_store(dataset, folder, REFERENCE, encoding={})
    return {
        "reference_bands": float(reference.sum()),
        "mask_pixels": float(sum(int(mask.sum()) for mask in masks.values())),
    }


def _within(nm: npt.NDArray[np.float64], ranges: list[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(nm), dtype=np.bool_)
    for low, high in ranges:
        inside |= (nm >= low) & (nm < high)
    return inside


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """Show the share of finished Dask tasks, with an estimate, where somebody is watching."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def count(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
            total = sum(len(state[part]) for part in ("ready", "waiting", "running", "finished"))
            bar.update(task, total=total, completed=len(state["finished"]))

        with Callback(posttask=count):
            yield
