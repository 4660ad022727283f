"""A small invented field that obeys the schemas and identities: twelve plots, two flights, three classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import shapely
import shapely.affinity
import xarray as xr
import yaml

from focus_core.aggregation import write_season
from focus_core.config import OUTSIDE, ReportSettings
from focus_core.cubes.publish import publish
from focus_core.cubes.schema import CUBE, EXPLANATION, IMPORTANCE, REFERENCE, WAVELENGTH_ATTRS
from focus_core.cubes.store import open_store, quantised, write_store

TEXT = np.dtypes.StringDType()
CLASSES = ("control", "low_nitrogen", "drought")
GROUPS = {"green": (500.0, 600.0), "red_edge": (680.0, 750.0), "nir": (750.0, 1350.0), "swir": (1450.0, 1800.0)}
WAVELENGTH = np.linspace(420.0, 1780.0, 35)
BAD = (WAVELENGTH > 1350) & (WAVELENGTH < 1450)
NM = {"units": "nm"}
# The wavelength group that speaks for each class.
SPEAKS = {"control": 0, "low_nitrogen": 1, "drought": 3}
WINDOWS, SEEDS = 4, 3


def group_of_band(bad=BAD):
    lo, hi = np.array(list(GROUPS.values())).T
    inside = (WAVELENGTH[:, None] >= lo) & (WAVELENGTH[:, None] < hi) & ~bad[:, None]
    return np.where(inside.any(1), inside.argmax(1), OUTSIDE)


def plot_ids(count=12):
    return [f"P{number:02d}" for number in range(1, count + 1)]


def polygons(ids, crs="EPSG:32633"):
    """Plots of 6 m × 4 m in rows of four, the field turned by five degrees; without a CRS, pixels of `cube`."""
    shapes = [shapely.box(8 * (n % 4), -6 * (n // 4) - 4, 8 * (n % 4) + 6, -6 * (n // 4)) for n in range(len(ids))]
    turned = [shapely.affinity.rotate(shape, 5, origin=(0, 0)) for shape in shapes]
    corner = (500_000, 5_400_000) if crs else (5, 30)
    moved = [shapely.affinity.translate(shape, *corner) for shape in turned]
    return gpd.GeoDataFrame(
        {"label": [CLASSES[n % 3] for n in range(len(ids))], "block": [f"B{n // 3}" for n in range(len(ids))]},
        index=ids, geometry=moved, crs=crs,
    ).rename_axis("plot")  # fmt: skip


def read_by_hand(ids, crs="EPSG:32633"):
    """What reading the plots gives, folds by block."""
    folds = ("train", "validation", "gate", "test")
    numbers = range(len(ids))
    return polygons(ids, crs).assign(label=[n % 3 for n in numbers], fold=[folds[n // 3 % 4] for n in numbers])


def explanation(campaign="flight_1", ids=None, *, seed=0, bad=BAD, windows=WINDOWS, classes=CLASSES):
    """Windows whose importance and bias add up to the contrastive logit; the class's own group speaks."""
    rng = np.random.default_rng(seed)
    ids = plot_ids() if ids is None else ids
    known = plot_ids(26)
    number = np.repeat([known.index(plot) if plot in known else n for n, plot in enumerate(ids)], windows)
    tiles, groups, bands = len(number), len(GROUPS), len(WAVELENGTH)
    evidence = rng.normal(0.0, 0.3, (tiles, len(classes), groups))
    for tile, plot in enumerate(number):
        own = CLASSES[plot % 3]
        if own in classes:
            evidence[tile, classes.index(own), SPEAKS[own]] += 2.0
    importance = evidence - evidence.mean(axis=1, keepdims=True)
    spread = rng.normal(0.0, 0.2, (tiles, len(classes), SEEDS, groups))
    by_seed = importance[:, :, None] + spread - spread.mean(axis=2, keepdims=True)
    bias = np.linspace(-0.2, 0.2, len(classes))
    logit = importance.sum(-1) + bias
    share = np.exp(logit) / np.exp(logit).sum(-1, keepdims=True)
    fold = np.array(("train", "validation", "gate", "test"))[number // 3 % 4]
    return xr.Dataset(
        {
            **{
                name: (("tile", "cls", "group"), values.astype(np.float32))
                for name, values in {
                    "evidence": evidence,
                    "importance": importance,
                    "sink_share": rng.uniform(0, 0.4, evidence.shape),
                    "token_share": rng.uniform(0, 0.2, evidence.shape),
                    "prefix_attention": rng.uniform(0, 0.2, evidence.shape),
                    "background_attention": rng.uniform(0, 0.2, evidence.shape),
                }.items()
            },
            "outlier_share": (("tile", "group"), rng.uniform(0, 0.1, evidence.shape[::2]).astype(np.float32)),
            "seed_importance": (("tile", "cls", "seed", "group"), by_seed.astype(np.float32)),
            "logit": (("tile", "cls"), logit.astype(np.float32)),
            "probability": (("tile", "cls"), share.astype(np.float32)),
            "saliency": (("tile", "cls", "group", "py", "px"), np.zeros((*evidence.shape, 2, 2), np.float32)),
            "bias": (("cls",), bias.astype(np.float32)),
        },
        coords={
            "row": ("tile", np.arange(tiles)),
            "col": ("tile", np.arange(tiles)),
            "plot": ("tile", np.repeat(np.array(ids, dtype=TEXT), windows)),
            "label": ("tile", number % 3),
            "fold": ("tile", fold.astype(TEXT)),
            "valid_fraction": ("tile", np.ones(tiles)),
            "coverage": ("tile", rng.uniform(10.0, 100.0, tiles)),
            "failure": ("tile", np.full(tiles, "", dtype=TEXT)),
            "cls": np.array(classes, dtype=TEXT),
            "group": np.array(list(GROUPS), dtype=TEXT),
            "group_lo_nm": ("group", np.array([lo for lo, _ in GROUPS.values()]), NM),
            "group_hi_nm": ("group", np.array([hi for _, hi in GROUPS.values()]), NM),
            "wavelength": ("band", WAVELENGTH, WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(bands, 10.0), NM),
            "good_band": ("band", ~bad),
            "group_of_band": ("band", group_of_band(bad)),
        },
        attrs={
            "campaign": campaign,
            "model": "models:/focus@champion",
            "model_digest": "0" * 64,
            "quantity": "reflectance",
            "reference_class": "control",
            "backbone": {"kind": "random"},
        },
    )


def cube(campaign="flight_1", crs="EPSG:32633", *, sensor_floor=420.0):
    rng = np.random.default_rng(5)
    y, x = 40, 60
    values = rng.uniform(0.05, 0.5, (len(WAVELENGTH), y, x)).astype(np.float32)
    valid = np.ones((y, x), dtype=bool)
    valid[:4] = False
    half = 0.25 if crs else 0.5
    grid = {"GeoTransform": f"{500_000 - half} 0.5 0 {5_400_000 + half} 0 -0.5" if crs else "0 1 0 0 0 1"}
    if crs:
        grid["crs_wkt"] = pyproj.CRS(crs).to_wkt()
    return xr.Dataset(
        {"reflectance": (("band", "y", "x"), values), "valid": (("y", "x"), valid)},
        coords={
            "y": 5_400_000.0 - 0.5 * np.arange(y) if crs else 0.5 + np.arange(y),
            "x": 500_000.0 + 0.5 * np.arange(x) if crs else 0.5 + np.arange(x),
            "wavelength": ("band", WAVELENGTH + sensor_floor - 420.0, WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(len(WAVELENGTH), 10.0), NM),
            "good_band": ("band", ~BAD),
            "spatial_ref": ((), 0, grid),
        },
        attrs={
            "quantity": "reflectance",
            "campaign": campaign,
            "bad_bands": [
                {"band": int(band), "wavelength_nm": float(WAVELENGTH[band]), "reason": f"noise: ratio {band}"}
                for band in np.flatnonzero(BAD)
            ],
        },
    )


def reference(campaign="flight_1"):
    """Expert bands for the two stresses; none for the control."""
    bands = np.zeros((len(CLASSES), len(WAVELENGTH)), dtype=bool)
    bands[1] = (WAVELENGTH > 680) & (WAVELENGTH < 750)
    bands[2] = WAVELENGTH > 1450
    return xr.Dataset(
        {"reference": (("cls", "band"), bands)},
        coords={
            "cls": np.array(CLASSES, dtype=TEXT),
            "wavelength": ("band", WAVELENGTH, WAVELENGTH_ATTRS),
            "null_band": ("band", np.zeros(len(WAVELENGTH), dtype=bool)),
            "has_reference": ("cls", bands.any(1)),
            "has_mask": ("cls", np.zeros(len(CLASSES), dtype=bool)),
        },
        attrs={"campaign": campaign, "source": "simulated"},
    )


@dataclass(frozen=True)
class Flight:
    """Where one flight's files lie."""

    folder: Path
    campaign: str

    @property
    def file(self):
        return str(self.folder / f"{self.campaign}.yaml")

    def uri(self, store):
        return str(self.folder / f"{self.campaign}.{store}")


def write_flight(
    folder,
    campaign="flight_1",
    *,
    ids=None,
    seed=0,
    date="2026-06-01",
    sensor="SIM-200",
    crs="EPSG:32633",
    stores=(),
    drift=None,
):
    """Write campaign file, polygons, explanation and cube of a flight, and the other stores that are asked for."""
    ids = plot_ids() if ids is None else ids
    flight = Flight(folder, campaign)
    vector = f"{campaign}.gpkg" if crs else f"{campaign}.geojson"
    (folder / vector).unlink(missing_ok=True)
    frame = polygons(ids, crs).reset_index()
    if crs:
        frame.to_file(folder / vector, driver="GPKG")
    else:
        (folder / vector).write_text(frame.to_json(), encoding="utf-8")
    content = {
        "campaign": campaign, "date": date, "sensor": sensor, "quantity": "reflectance", "simulated": True,
        "crs": crs, "cubes": [{"image": "image.hdr"}], "plots": {"file": vector},
        "classes": list(CLASSES), "reference_class": "control",
        "groups": {name: list(nm) for name, nm in GROUPS.items()},
    }  # fmt: skip
    Path(flight.file).write_text(yaml.safe_dump(content), encoding="utf-8")
    publish_store(flight.uri("explanation.zarr"), explanation(campaign, ids, seed=seed), EXPLANATION, metrics=drift)
    publish_store(flight.uri("cube.zarr"), cube(campaign, crs), CUBE, {"reflectance": quantised()})
    if "reference" in stores:
        publish_store(flight.uri("reference.zarr"), reference(campaign), REFERENCE)
    if "evaluation" in stores:
        accuracy = {"": 0.917, ".lo": 0.81, ".hi": 0.98}
        metrics = {f"test.balanced_accuracy{end}": value for end, value in accuracy.items()} | {"swap_logit_error": 0.0}
        shares = {"sink_share": 0.2, "background_attention": 0.05, "prefix_attention": 0.1}
        shares |= {"prefix_attention_uniform": 0.1, "collapse": 0.0}
        metrics |= {f"test.{name}": value for name, value in shares.items()}
        uri = flight.uri("evaluation")
        publish(uri, step="evaluate", inputs={}, settings=ReportSettings(), write=lambda _: metrics)
    return flight


def losing_windows(whole):
    """The explanation without all windows of P07 and the first of P03, which could not be read; and which those are."""
    broken, plot = whole.copy(deep=True), whole["plot"].to_numpy()
    lost = plot == "P07"
    lost[np.flatnonzero(plot == "P03")[0]] = True
    for values in broken.data_vars.values():
        if values.dims[0] == "tile":
            values.values[lost] = np.nan
    broken["failure"].values[lost] = "cannot be read"
    return broken, lost


def publish_store(uri, dataset, schema, encoding=None, metrics=None):
    def write(folder):
        write_store(dataset, folder, schema, encoding=encoding or {})
        return metrics or {}

    publish(uri, step="explain", inputs={}, settings=ReportSettings(), write=write)


def joined(folder, *parts):
    """The store after flights that arrive one after the other, each time a version of its own below a folder."""
    target, opened = folder, None
    for part in parts:
        before, target = target, folder / f"season-{len(list(folder.glob('season-*')))}"
        write_season(target, part, before=before, existing=opened)
        opened = open_store(target, IMPORTANCE)
    return opened
