import dask
import numpy as np
import pytest
import shapely
import xarray as xr
import zarr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio import Affine

from focus_core.aggregation import plot_spectra
from focus_core.cluster import dask_client
from focus_core.errors import StoreError
from tests.focus_core.aggregation.small_cube import RECTANGLES, TURNED, boxes, cube, random_cube, write_cube


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "cube.zarr")


def shares(plots):
    """Area of each pixel inside each plot, by shapely alone: ``(plot, y, x)``."""
    rows, cols = 50, 70
    pixels = np.array([shapely.box(x, y, x + 1, y + 1) for y in range(rows) for x in range(cols)])
    return np.stack([shapely.area(shapely.intersection(pixels, shape)).reshape(rows, cols) for shape in plots.geometry])


def by_hand(values, share):
    """Two-pass mean and standard deviation ``(plot, band)``."""
    flat, weight = values.reshape(len(values), -1), share.reshape(len(share), -1)
    mean = weight @ flat.T / weight.sum(1)[:, None]
    spread = np.einsum("pn,pbn->pb", weight, (flat[None] - mean[:, :, None]) ** 2)
    return mean, np.sqrt(spread / weight.sum(1)[:, None])


def test_mean_spread_area_and_effective_pixels_are_those_of_the_exact_areas(uri):
    dataset = random_cube()
    write_cube(uri, dataset)
    found = plot_spectra(uri, boxes(*RECTANGLES, **TURNED)).compute()
    share = shares(boxes(*RECTANGLES, **TURNED, crs=None))
    mean, std = by_hand(dataset["reflectance"].to_numpy().astype(float), share)
    np.testing.assert_allclose(found["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(found["std"], std, atol=1e-6)
    total = share.sum((1, 2))
    np.testing.assert_allclose(found["area_m2"], np.tile(0.25 * total[:, None], 7), rtol=1e-5)
    np.testing.assert_allclose(found["n_eff"][:, 0], total**2 / (share**2).sum((1, 2)), rtol=1e-5)
    assert float(found["area_m2"].sel(plot="P03")[0]) < 0.25 * 20 * 8  # cut by the image's edge
    assert found["mean"].sel(plot="P04").to_numpy() == pytest.approx(dataset["reflectance"][:, 30, 15], abs=1e-6)


def test_it_equals_exactextract_itself(uri):
    dataset = random_cube(seed=3)
    write_cube(uri, dataset)
    plots = boxes(*RECTANGLES[:3], **TURNED)
    found = plot_spectra(uri, plots).compute()
    flipped = [shapely.transform(shape, lambda xy: [0, 50] + xy * [1, -1]) for shape in
               boxes(*RECTANGLES[:3], **TURNED, crs=None).geometry]  # fmt: skip
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in flipped]
    for band in range(7):
        source = NumPyRasterSource(dataset["reflectance"].to_numpy()[band].astype(float))
        table = exact_extract(source, features, ["mean", "stdev"], output="pandas")
        np.testing.assert_allclose(found["mean"][:, band], table["mean"], rtol=1e-6)
        np.testing.assert_allclose(found["std"][:, band], table["stdev"], rtol=1e-6)


def test_only_chunks_that_a_plot_touches_are_read_each_once(uri, monkeypatch):
    write_cube(uri, random_cube())
    lazy = plot_spectra(uri, boxes((2, 2, 10, 10), (3, 3, 10, 10), (50, 33, 10, 10)))
    read = []
    original = zarr.Array.__getitem__

    def counting(array, key):
        if array.name == "/reflectance":
            read.append(tuple((part.start, part.stop) for part in key))
        return original(array, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counting)
    lazy.compute(scheduler="synchronous")
    bands = [(0, 3), (3, 6), (6, 7)]
    corner, far = ((0, 16), (0, 16)), [((32, 48), (48, 64))]
    assert sorted(read) == sorted((band, *place) for band in bands for place in (corner, *far))


def test_invalid_pixels_and_missing_values_count_nowhere(uri):
    dataset = random_cube(seed=5)
    hidden = dataset["reflectance"].to_numpy().copy()
    valid = np.ones((50, 70), dtype=bool)
    valid[:9] = False
    hidden[2, 12:14, 10:20] = np.nan
    hidden[3] = np.nan
    write_cube(uri, cube(hidden, valid=valid))
    found = plot_spectra(uri, boxes(*RECTANGLES, (2, 0, 12, 6), **TURNED)).compute()
    share = shares(boxes(*RECTANGLES, **TURNED, crs=None)) * valid
    for band in (0, 2):
        known = np.where(np.isnan(hidden[band]), 0.0, share)
        mean, std = by_hand(np.nan_to_num(hidden[[band]]).astype(float), known)
        np.testing.assert_allclose(found["mean"][:5, band], mean[:, 0], atol=1e-6)
        np.testing.assert_allclose(found["std"][:5, band], std[:, 0], atol=1e-6)
        np.testing.assert_allclose(found["area_m2"][:5, band], 0.25 * known.sum((1, 2)), rtol=1e-5)
    assert np.isnan(found["mean"][:, 3]).all()
    outside = found.sel(plot="P05")
    assert np.isnan(outside["mean"]).all()
    assert (outside["area_m2"] == 0.0).all()


@settings(max_examples=10)
@example(chunk=(1, 31, 6), mean=0.0, spread=1.0)  # the plot of one pixel lies far from its chunk's first value
@given(
    chunk=st.tuples(st.integers(2, 8), st.integers(9, 60), st.integers(9, 80)),
    mean=st.sampled_from([0.0, 1e3, 1e6]),
    spread=st.sampled_from([1e-3, 1.0]),
)
def test_small_spreads_on_large_means_survive_whatever_the_chunks(tmp_path_factory, chunk, mean, spread):
    rng = np.random.default_rng(1)
    dataset = cube(np.zeros((7, 50, 70)))
    dataset["reflectance"] = dataset["reflectance"].astype(np.float64) + mean + spread * rng.normal(size=(7, 50, 70))
    uri = str(tmp_path_factory.mktemp("chunks") / "cube.zarr")
    write_cube(uri, dataset, {"chunks": chunk})
    found = plot_spectra(uri, boxes(*RECTANGLES, **TURNED)).compute()
    share = shares(boxes(*RECTANGLES, **TURNED, crs=None))
    wanted, std = by_hand(dataset["reflectance"].to_numpy(), share)
    np.testing.assert_allclose(found["mean"], wanted, rtol=1e-9, atol=1e-6 * spread)
    np.testing.assert_allclose(found["std"], std, rtol=1e-4, atol=1e-9 * max(mean, 1.0))


def test_without_a_crs_positions_and_areas_are_pixels(uri):
    values = random_cube()["reflectance"].to_numpy()
    write_cube(uri, cube(values, crs=None))
    found = plot_spectra(uri, boxes((3, 4, 6, 5), crs=None)).compute()
    np.testing.assert_allclose(found["mean"][0], values[:, 4:9, 3:9].mean((1, 2)), rtol=1e-6)
    assert found["area_m2"][0].to_numpy() == pytest.approx(30.0)
    assert "pixels" in found["area_m2"].attrs["note"]


def test_areas_in_degrees_are_those_on_the_ellipsoid(uri):
    step, corner = 1e-5, np.array([13.0, 52.0])
    dataset = random_cube()
    dataset = dataset.assign_coords(
        x=corner[0] + step * (np.arange(70) + 0.5), y=corner[1] - step * (np.arange(50) + 0.5)
    ).rio.write_crs("EPSG:4326")
    write_cube(uri, dataset.rio.write_transform(Affine(step, 0.0, corner[0], 0.0, -step, corner[1])))
    plots = boxes((10, 10, 20, 10), crs=None)
    plots = plots.set_geometry(shapely.transform(plots.geometry, lambda xy: corner + xy * [step, -step]))
    found = plot_spectra(uri, plots.set_crs("EPSG:4326")).compute()["area_m2"]
    expected = plots.set_crs("EPSG:4326").to_crs("EPSG:32633").area / 0.9996**2  # 13 degrees is two off the meridian
    np.testing.assert_allclose(found, np.tile(expected, (1, 7)), rtol=1e-3)


def test_threads_and_a_cluster_give_the_same_bits(uri):
    from distributed import LocalCluster

    write_cube(uri, random_cube())
    lazy = plot_spectra(uri, boxes(*RECTANGLES, **TURNED))
    assert all(dask.is_dask_collection(lazy[name]) for name in lazy.data_vars)
    with dask_client(None):
        threads = lazy.compute()
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        dask_client(cluster.scheduler_address) as client,
    ):
        assert client.scheduler_info()["workers"]
        xr.testing.assert_identical(threads, lazy.compute())


@pytest.mark.services
def test_worker_processes_give_the_same_bits(uri):
    from distributed import LocalCluster

    write_cube(uri, random_cube())
    lazy = plot_spectra(uri, boxes(*RECTANGLES, **TURNED))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        dask_client(cluster.scheduler_address),
    ):
        distributed = lazy.compute()
    xr.testing.assert_identical(lazy.compute(), distributed)


def test_plots_of_another_place_are_refused(uri):
    write_cube(uri, random_cube())
    with pytest.raises(StoreError, match=r"lies in EPSG:32633, the plots in EPSG:25833; give the plots in the cube"):
        plot_spectra(uri, boxes(RECTANGLES[0], crs="EPSG:25833"))
    with pytest.raises(StoreError, match="lies in EPSG:32633, the plots in None"):
        plot_spectra(uri, boxes(RECTANGLES[0], crs=None))
    with pytest.raises(StoreError, match="no plot reaches into the image"):
        plot_spectra(uri, boxes((900, 900, 5, 5)))
