"""Exported maps, read by the specification of their format: values, place, names, and what a reader over HTTP needs."""

import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from focus_core.export.rasters import NO_CLASS
from tests.focus_core.export.test_rasters import SIZE, explanation, write
from tests.focus_core.export.tiff import read_images

ROW, COL = [0, 4, 1500], [0, 6, 1300]
WEIGHT = [3.0, 1.0, 2.0]
SHAPE = (1512, 1312)


@pytest.fixture(scope="module")
def dataset():
    return explanation(ROW, COL, coverage=WEIGHT)


@pytest.fixture(scope="module")
def maps(dataset, tmp_path_factory):
    return {name: read_images(path) for name, path in write(dataset, tmp_path_factory.mktemp("maps")).items()}


def blended(values):
    """Windows ``(tile, band, y, x)`` on the field, weighted by coverage; NaN where none lies."""
    sums, total = np.zeros((values.shape[1], *SHAPE)), np.zeros(SHAPE)
    for top, left, weight, window in zip(ROW, COL, WEIGHT, values, strict=True):
        place = (slice(top, top + SIZE), slice(left, left + SIZE))
        sums[(slice(None), *place)] += weight * window
        total[place] += weight
    with np.errstate(invalid="ignore"):
        return sums / total


def test_every_pixel_of_every_map_is_that_of_the_store(dataset, maps):
    probability = blended(dataset["probability"].to_numpy()[:, :, None, None] * np.ones((1, 1, SIZE, SIZE)))
    outside = np.isnan(probability[0])
    (classes,) = maps["class"][0].pixels()
    np.testing.assert_array_equal(classes[~outside], probability[:, ~outside].argmax(axis=0))
    assert (classes[outside] == NO_CLASS).all()
    np.testing.assert_allclose(maps["confidence"][0].pixels()[0], probability.max(axis=0), rtol=1e-6)
    for cls, name in enumerate(("control", "drought", "disease")):
        patches = dataset["saliency"].isel(cls=cls).to_numpy()
        expected = blended(np.kron(patches, np.ones((3, 3))) / 9)
        np.testing.assert_allclose(maps[f"saliency_{name}"][0].pixels(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "bands", "nodata"),
    [
        ("class", ["class"], str(NO_CLASS)),
        ("confidence", ["probability"], "nan"),
        ("saliency_drought", ["red 600-700 nm", "swir 1500-1800 nm"], "nan"),
    ],
)
def test_bands_have_names_and_what_is_missing_has_a_number(maps, name, bands, nodata):
    for image in maps[name]:
        assert image.text(42113) == nodata
    items = ET.fromstring(maps[name][0].text(42112)).iter("Item")
    described = {int(item.get("sample")): item.text for item in items if item.get("role") == "description"}
    assert [described[band] for band in range(len(bands))] == bands


def test_pixels_lie_on_the_map(maps):
    for images in maps.values():
        tags = images[0].tags
        assert tags[33550][:2] == (0.5, 0.5)
        assert tags[33922] == (0.0, 0.0, 0.0, 500_000.0, 5_400_000.0, 0.0)
        keys = np.reshape(tags[34735], (-1, 4)).tolist()
        assert [3072, 0, 1, 32633] in keys


def test_a_reader_over_http_finds_directories_first_and_then_the_coarsest_tiles(maps):
    for images in maps.values():
        whole, *overviews = images
        assert [image.shape[1:] for image in images] == [SHAPE, (756, 656), (378, 328)]
        assert [image.tags.get(254, (0,))[0] for image in images] == [0, 1, 1]
        assert all(image.tags[322] == image.tags[323] == (512,) for image in images)
        first = [min(offset for offset in image.offsets if offset) for image in images]
        assert max(image.at for image in images) < min(first)
        assert first == sorted(first, reverse=True)
        size = int(re.match(rb"GDAL_STRUCTURAL_METADATA_SIZE=(\d{6}) bytes\n", whole.content[8:])[1])
        assert b"LAYOUT=IFDS_BEFORE_DATA\n" in whole.content[8 : 51 + size]
        for image in [*overviews, whole]:
            for offset, length in zip(image.offsets, image.tags[325], strict=True):
                if offset:
                    assert struct.unpack_from("<I", image.content, offset - 4) == (length,)


def test_overviews_are_means_of_what_is_there_and_classes_stay_classes(maps):
    for name in ("confidence", "saliency_drought"):
        whole, half = (image.pixels().astype(np.float64) for image in maps[name][:2])
        fours = whole.reshape(len(whole), SHAPE[0] // 2, 2, SHAPE[1] // 2, 2)
        count = np.isfinite(fours).sum(axis=(2, 4))
        known = count > 0
        np.testing.assert_array_equal(np.isfinite(half), known)
        mean = np.nansum(fours, axis=(2, 4))[known] / count[known]
        np.testing.assert_allclose(half[known], mean, rtol=1e-4, atol=1e-7)
    whole, half = (image.pixels()[0] for image in maps["class"][:2])
    fours = whole.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2)
    assert ((half[:, None, :, None] == fours).any(axis=(1, 3))).all()
