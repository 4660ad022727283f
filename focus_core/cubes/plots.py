"""The plots of a campaign: polygons with a stable id, class, trial block and fold.

Knows vector files and label rasters; does not look at the cube.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.features import shapes

from focus_core.config import CampaignFile, RasterPlots, VectorPlots
from focus_core.cubes.axes import PixelBox, Shape2d
from focus_core.cubes.crs import campaign_crs, same_crs
from focus_core.cubes.folds import assign_folds
from focus_core.cubes.mosaic import place
from focus_core.cubes.readers import Layer, open_layer

UNLABELLED = -1
_HOLDS_A_WINDOW = 0.25
"""A raster plot with fewer pixels than this share of a window does not stand for its class in a fold."""
_GEOGRAPHIC = "EPSG:4326"


def read_plots(file: CampaignFile, shape: Shape2d | None = None) -> gpd.GeoDataFrame:
    """Read the plots of a campaign.

    Parameters
    ----------
    file
        The campaign.
    shape
        Extent of the cube, where it is known: without a CRS, a label raster must have the same.

    Returns
    -------
    geopandas.GeoDataFrame
        Indexed by plot id (``plot``), in order of id: ``label`` (index into the campaign's classes, -1 where
        unlabelled), ``block``, ``fold`` and ``geometry`` in the campaign's CRS, or in pixels (x is the column, y the
        row, from the upper left corner) where that is null.

    Raises
    ------
    CampaignError
        If two plots have one id, a label is not among the classes, a polygon is broken, or the CRS or extent of a
        label raster does not fit.
    MissingInputError
        If the file does not exist.
    """
    form = file.campaign.plots
    plots = _read_vector(file, form) if isinstance(form, VectorPlots) else _read_raster(file, form, shape)
    repeated = plots.index[plots.index.duplicated()].unique()
    if len(repeated):
        raise file.error(("plots",), f"two plots have one id: {', '.join(repeated[:5])}; ids must be unique")
    plots = plots.sort_index()
    counted = None
    if isinstance(form, RasterPlots):
        pixel_area = plots.attrs.pop("pixel_area")
        counted = (plots.area >= _HOLDS_A_WINDOW * file.campaign.window.size_px**2 * pixel_area).tolist()
    folds = assign_folds(plots["block"].tolist(), plots["label"].tolist(), file.campaign.folds, counted=counted)
    plots["fold"] = [folds[block] for block in plots["block"]]
    return plots[["label", "block", "fold", "geometry"]]


def _read_vector(file: CampaignFile, form: VectorPlots) -> gpd.GeoDataFrame:
    (path,) = file.plots_paths
    source = _source(file, path)
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        frame = gpd.read_file(source, layer=0, engine="pyogrio")
    except (RuntimeError, ValueError) as error:  # of GDAL and of PROJ
        raise file.error(("plots", "file"), f"'{path}' cannot be read as a vector file: {error}") from error
    if len(layers) > 1:
        raise file.error(("plots", "file"), f"'{path.name}' holds the layers {layers[:8]}; keep one in it")
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise file.error(("plots", "file"), f"'{path}' holds no polygons")
    for key in ("id", "label", "block"):
        column = getattr(form, key)
        if column is not None and column not in frame.columns:
            found = ", ".join(str(name) for name in frame.columns if name != "geometry")
            hint = "" if key == "id" else f", or write '{key}: null'"
            raise file.error(("plots", key), f"'{path.name}' has no property '{column}'; it has {found}{hint}")
    ids = [_text(value) for value in frame[form.id]]
    if "" in ids:
        raise file.error(("plots", "id"), f"'{path.name}': plot {ids.index('') + 1} has no '{form.id}'")
    frame = _in_campaign_crs(file, path, frame)
    _refuse_broken(file, path, ids, frame)
    labels = [UNLABELLED] * len(ids) if form.label is None else _labels(file, ids, frame[form.label])
    blocks = ids if form.block is None else [_text(value) for value in frame[form.block]]
    blocks = [block or name for block, name in zip(blocks, ids, strict=True)]
    return gpd.GeoDataFrame(
        {"label": labels, "block": blocks},
        geometry=list(frame.geometry),
        crs=frame.crs,
        index=_index(ids),
    )


def _source(file: CampaignFile, path: Path) -> str:
    """Return by which name GDAL opens the file as what it is: some of its drivers follow a text to any other file."""
    with path.open("rb") as opened:
        start = opened.read(64)
    if start.startswith(b"SQLite format 3\0"):
        return str(path)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return f"GeoJSON:{path}"
    raise file.error(
        ("plots", "file"), f"'{path.name}' is neither GeoJSON nor GeoPackage; export the plots as one of them"
    )


def _labels(file: CampaignFile, ids: list[str], column: Any) -> list[int]:
    classes = list(file.campaign.classes)
    found = []
    for name, value in zip(ids, column, strict=True):
        text = _text(value)
        if text and text not in classes:
            raise file.error(("plots", "label"), f"plot '{name}' is labelled '{text}', not one of {classes}")
        found.append(classes.index(text) if text else UNLABELLED)
    return found


def _text(value: Any) -> str:
    """Return an id as text: a number that a file keeps as 7.0 is '7', and nothing is ''."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _in_campaign_crs(file: CampaignFile, path: Path, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    wanted = campaign_crs(file)
    geographic = frame.crs is not None and frame.crs.to_epsg() == 4326
    if wanted is None:
        # GeoJSON cannot say "pixels": without a word it means longitude and latitude.
        if frame.crs is not None and not geographic:
            raise file.error(("crs",), f"is null, but '{path.name}' lies in {frame.crs.to_string()[:60]}; name the CRS")
        return frame.set_crs(None, allow_override=True)
    if frame.crs is None:
        raise file.error(("plots", "file"), f"'{path.name}' names no CRS; write it with one, e.g. {wanted.to_string()}")
    west, south, east, north = frame.total_bounds
    if geographic and (west < -180.0 or east > 180.0 or south < -90.0 or north > 90.0):
        raise file.error(
            ("plots", "file"),
            f"'{path.name}' has coordinates up to {east:g}, {north:g}, which are no degrees, but says {_GEOGRAPHIC}, "
            "as GeoJSON without 'crs' does; write its CRS",
        )
    if same_crs(wanted, CRS.from_wkt(frame.crs.to_wkt())):
        return frame
    try:
        return frame.to_crs(wanted.to_wkt())
    except ProjError as error:
        raise file.error(
            ("plots", "file"),
            f"'{path.name}' lies in {frame.crs.to_string()[:60]}, from which no way leads to {wanted.to_string()}; "
            "write its CRS",
        ) from error


def _refuse_broken(file: CampaignFile, path: Path, ids: list[str], frame: gpd.GeoDataFrame) -> None:
    for name, shape in zip(ids, frame.geometry, strict=True):
        if shape is None or shape.is_empty or shape.geom_type not in {"Polygon", "MultiPolygon"}:
            kind = "no geometry" if shape is None or shape.is_empty else f"a {shape.geom_type}"
            raise file.error(("plots", "file"), f"'{path.name}': plot '{name}' is {kind}; expected a polygon")
        if not shape.is_valid:
            why = shapely.is_valid_reason(shape)
            raise file.error(("plots", "file"), f"'{path.name}': plot '{name}' is broken: {why}; repair it")


def _read_raster(file: CampaignFile, form: RasterPlots, shape: Shape2d | None) -> gpd.GeoDataFrame:
    layer, wanted = _label_map(file, form), campaign_crs(file)
    if wanted is None and shape is not None and layer.grid.shape != shape:
        raise file.error(
            ("plots", "raster"),
            f"'{Path(form.raster[0]).name}' has {layer.grid.shape}, the cube {shape}, and 'crs' is null: nothing says "
            "where the one lies on the other; cut or turn it to the cube's pixels",
        )
    missing = [number for number in form.values if not (layer.values == number).any()]
    if missing:
        first, *others = form.raster
        name = f"'{Path(first).name}'" + (f" with {len(others)} more" if others else "")
        raise file.error(("plots", "values"), f"{name} holds no pixel with {missing}; correct the numbers")
    ids, labels, blocks, geometry = [], [], [], []
    for name in sorted(set(form.values.values())):
        numbers = [number for number, named in form.values.items() if named == name]
        for block, mask, box in _blocks(np.isin(layer.values, numbers), form.block_px):
            move = layer.grid.part(box).transform
            found = [shapely.geometry.shape(item) for item, _ in shapes(mask.astype(np.uint8), mask, transform=move)]
            ids.append(f"{name}-{block}")
            labels.append(file.campaign.classes.index(name))
            blocks.append(block)
            geometry.append(shapely.union_all(found))
    frame = gpd.GeoDataFrame({"label": labels, "block": blocks}, geometry=geometry, crs=wanted, index=_index(ids))
    frame.attrs["pixel_area"] = abs(layer.grid.transform.determinant)
    return frame


def _label_map(file: CampaignFile, form: RasterPlots) -> Layer:
    """Return the label rasters on one grid, NaN where none lies; where two overlap, the first named counts."""
    wanted = campaign_crs(file)
    named = []
    for path in file.plots_paths:
        layer = open_layer(path, form.variable)
        if not same_crs(wanted, layer.grid.crs):
            raise file.error(("plots", "raster"), f"'{path.name}' lies in {layer.grid.crs}, the campaign in {wanted}")
        named.append((path.name, layer))
    if len(named) == 1:
        return named[0][1]
    if wanted is None:
        raise file.error(
            ("plots", "raster"), "names several files, but 'crs' is null: nothing says where each lies; join them"
        )
    grid, boxes = place([(name, layer.grid) for name, layer in named])
    kind = np.result_type(np.float16, *(layer.values for _, layer in named))
    values = np.full((grid.shape.rows, grid.shape.cols), np.nan, dtype=kind)
    for (_, layer), box in zip(reversed(named), reversed(boxes), strict=True):
        below = values[box.slices]
        np.copyto(below, layer.values, where=~np.isnan(layer.values))
    return Layer(values, grid)


def _blocks(mask: npt.NDArray[np.bool_], side: int) -> list[tuple[str, npt.NDArray[np.bool_], PixelBox]]:
    """Return the part of a class in each block that it touches, with the block's name and place."""
    found = []
    for down in range(0, mask.shape[0], side):
        for across in range(0, mask.shape[1], side):
            part = mask[down : down + side, across : across + side]
            if part.any():
                name = f"r{down // side:02d}c{across // side:02d}"
                found.append((name, part, PixelBox(down, across, *part.shape)))
    return found


def _index(ids: list[str]) -> pd.Index:
    return pd.Index(ids, name="plot", dtype=object)
