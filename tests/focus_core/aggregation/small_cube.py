"""A small cube as ingest writes it, and turned plots on it that overlap and reach over its edge."""

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401 - registers the accessor that writes the grid
import shapely
import shapely.affinity
import xarray as xr
from rasterio import Affine

from focus_core.cubes.schema import CUBE, WAVELENGTH_ATTRS
from focus_core.cubes.store import quantised
from tests.focus_core.aggregation.small_field import publish_store

PIXEL_M = 0.5
CORNER = (500_000.0, 5_400_000.0)
CHUNKS = {"chunks": (3, 16, 16)}


def cube(values, *, valid=None, crs="EPSG:32633", wavelength=None):
    """``values (band, y, x)`` with coordinates; the upper left corner lies at `CORNER`, or at 0 without a CRS."""
    bands, rows, cols = values.shape
    transform = Affine.identity() if crs is None else Affine(PIXEL_M, 0.0, CORNER[0], 0.0, -PIXEL_M, CORNER[1])
    nm = np.linspace(450.0, 1700.0, bands) if wavelength is None else np.asarray(wavelength)
    x, y = (np.arange(size) + 0.5 for size in (cols, rows))
    dataset = xr.Dataset(
        {
            "reflectance": (("band", "y", "x"), values.astype(np.float32)),
            "valid": (("y", "x"), np.ones((rows, cols), dtype=bool) if valid is None else valid),
        },
        coords={
            "y": transform.f + y * transform.e,
            "x": transform.c + x * transform.a,
            "wavelength": ("band", nm, WAVELENGTH_ATTRS),
            "fwhm": ("band", np.full(bands, 10.0), {"units": "nm"}),
            "good_band": ("band", np.ones(bands, dtype=bool)),
        },
        attrs={"quantity": "reflectance", "campaign": "flight_1"},
    ).rio.write_transform(transform)
    return dataset if crs is None else dataset.rio.write_crs(crs)


def write_cube(uri, dataset, encoding=None):
    encoding = {"reflectance": {**quantised(), **CHUNKS} if encoding is None else encoding}
    publish_store(uri, dataset.drop_encoding(), CUBE, encoding)


def random_cube(seed=0, bands=7, rows=50, cols=70):
    rng = np.random.default_rng(seed)
    return cube(rng.uniform(0.0, 1.0, (bands, rows, cols)).round(4))


def boxes(*rectangles, crs="EPSG:32633", degrees=0.0):
    """Plots from ``(x, y, width, height)`` in pixels from the upper left corner, each turned about its centre."""
    shapes = []
    for x, y, width, height in rectangles:
        shape = shapely.affinity.rotate(shapely.box(x, y, x + width, y + height), degrees)
        if crs is not None:
            shape = shapely.transform(shape, lambda xy: np.array(CORNER) + xy * [PIXEL_M, -PIXEL_M])
        shapes.append(shape)
    ids = [f"P{number:02d}" for number in range(len(shapes))]
    return gpd.GeoDataFrame(geometry=shapes, index=ids, crs=crs).rename_axis("plot")


TURNED = {"degrees": 17.0}
RECTANGLES = ((3, 4, 20, 9), (12, 6, 20, 9), (40, 10, 11, 30), (60, 40, 20, 8), (15.3, 30.3, 0.4, 0.3))
"""The second overlaps the first, the fourth reaches out of the image, the fifth lies within one pixel."""
