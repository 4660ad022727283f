"""Of a flight of several cubes a damaged one costs itself alone, where that is asked for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from focus_core.config import IngestSettings, TileSettings
from focus_core.cubes.publish import Metrics
from focus_core.cubes.readers import open_raw
from focus_core.cubes.record import digest, record
from focus_core.cubes.schema import CUBE, REFERENCE, TILES
from focus_core.cubes.store import open_store
from focus_core.errors import CampaignError, CubeError, FocusError, MissingInputError
from focus_core.steps.ingest import ingest
from focus_core.steps.tile import tile
from tests.focus_core.cubes.small_campaign import (
    COLS,
    ROWS,
    TRANSFORM,
    WAVELENGTH,
    Field,
    make_field,
    map_info,
    plot,
    square,
    write_envi,
)

SECOND_STARTS = 28
"""Column of the field at which its second strip begins."""


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path / "field")


def run(field: Field, out: Path, *, leave_out_damaged: bool = True) -> Metrics:
    settings = IngestSettings(chunk_px=16, leave_out_damaged=leave_out_damaged)
    return ingest(str(field.campaign), str(out / "cube.zarr"), str(out / "reference.zarr"), settings=settings)


def cut(field: Field, name: str) -> bytes:
    """Cut a file off as a broken transfer does; returns what it held."""
    path = field.folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    return whole


def three_strips(field: Field) -> Field:
    """The field as three calibrated files of twenty columns each."""
    cubes = []
    for left in (0, 20, 40):
        values = field.reflectance[:, :, left : left + 20].astype(np.float32)
        write_envi(field.folder / f"part-{left}.raw", values, map_info=map_info(left))
        cubes.append({"image": f"part-{left}.raw"})
    return field.write(cubes=cubes)


def test_a_damaged_cube_is_left_out_named_and_counted(
    field: Field, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(field, "strip-2.raw")
    metrics = run(field, tmp_path)
    assert metrics["cubes_left_out"] == 1.0
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    np.testing.assert_allclose(cube["reflectance"], field.reflectance[:, :, :SECOND_STARTS], atol=1.5e-4)
    assert cube["valid"].all()
    (told,) = cube.attrs["left_out"]
    assert told["file"] == "strip-2.raw"
    assert "bytes, but strip-2.hdr describes" in told["reason"]
    assert [source["file"] for source in cube.attrs["sources"]] == ["strip-1.hdr"]
    assert "small-field: 'strip-2.raw' is damaged and left out: " in caplog.text
    reference = open_store(tmp_path / "reference.zarr", REFERENCE)
    assert reference["mask"].sel(cls="drought").sum() == 16 * SECOND_STARTS == metrics["mask_pixels"]
    assert reference["mask"].sel(cls="drought").any("x").to_numpy().nonzero()[0].tolist() == list(range(24, 40))


def test_what_a_damaged_cube_alone_would_show_is_missing(field: Field, tmp_path: Path) -> None:
    cut(three_strips(field), "part-20.raw")
    metrics = run(field, tmp_path)
    cube = open_store(tmp_path / "cube.zarr", CUBE)
    assert (cube.sizes["y"], cube.sizes["x"]) == (ROWS, COLS)
    lost = np.zeros((ROWS, COLS), dtype=bool)
    lost[:, 20:40] = True
    np.testing.assert_array_equal(cube["valid"], ~lost)
    reflectance = cube["reflectance"].to_numpy()
    assert np.isnan(reflectance[:, lost]).all()
    np.testing.assert_allclose(reflectance[:, ~lost], field.reflectance[:, ~lost], atol=0.6e-4)
    assert metrics["invalid_pixels"] == ROWS * 20


def test_the_record_holds_what_was_read_and_a_repaired_cube_is_read(field: Field, tmp_path: Path) -> None:
    whole = cut(field, "strip-2.raw")
    before = run(field, tmp_path)
    damaged = {str(field.folder / f"strip-2{role}.raw") for role in ("", "-white", "-dark")}
    read = {str(path) for path in field.folder.glob("strip-1*")}
    inputs = record(tmp_path / "cube.zarr")["inputs"]
    assert set(inputs) == {"campaign"} | damaged | read
    assert all(inputs[path] == digest(path) for path in damaged | read)
    first = digest(tmp_path / "cube.zarr")
    assert run(field, tmp_path) == before
    assert digest(tmp_path / "cube.zarr") == first

    (field.folder / "strip-2.raw").write_bytes(whole)
    after = run(field, tmp_path)
    assert (after["cubes_left_out"], after["cols"]) == (0.0, COLS)
    assert open_store(tmp_path / "cube.zarr", CUBE).attrs["left_out"] == []
    assert run(field, tmp_path / "undisturbed") == after
    assert digest(tmp_path / "undisturbed" / "cube.zarr") == digest(tmp_path / "cube.zarr")


def other_width(field: Field) -> str:
    write_envi(field.folder / "strip-2-white.raw", np.full((24, 4, 28), 9000, np.uint16))
    return "the white reference has 24 bands × 28 columns"


def no_header(field: Field) -> str:
    (field.folder / "strip-2.hdr").write_text("ENVI\nsamples = 32\n")
    return "strip-2.hdr"


def cut_behind_its_header(field: Field) -> str:
    """A GeoTIFF that opens as if it were whole: only its last lines are missing."""
    path, values = field.folder / "part.tif", field.reflectance[:, :, SECOND_STARTS:].astype(np.float32)
    shape = {"count": len(values), "height": ROWS, "width": COLS - SECOND_STARTS, "dtype": "float32"}
    place = {"crs": CRS.from_epsg(32633), "transform": TRANSFORM @ Affine.translation(SECOND_STARTS, 0)}
    with rasterio.open(path, "w", driver="GTiff", interleave="pixel", **shape, **place) as file:
        file.write(values)
    path.write_bytes(path.read_bytes()[:-100])
    second = {"image": path.name, "wavelengths": WAVELENGTH.tolist()}
    field.write(cubes=[field.content["cubes"][0], second])
    assert open_raw(path).shape.cols == COLS - SECOND_STARTS
    return "cannot be read as GeoTIFF"


@pytest.mark.parametrize("damage", [other_width, no_header, cut_behind_its_header])
def test_a_cube_that_contradicts_itself_is_damaged(
    field: Field, tmp_path: Path, damage: Callable[[Field], str]
) -> None:
    reason = damage(field)
    run(field, tmp_path)
    (told,) = open_store(tmp_path / "cube.zarr", CUBE).attrs["left_out"]
    assert reason in told["reason"]


def nothing_left(field: Field) -> None:
    cut(field, "strip-1.raw")
    cut(field, "strip-2.raw")


def missing(field: Field) -> None:
    (field.folder / "strip-2.raw").unlink()


def other_crs(field: Field) -> None:
    field.write(crs="EPSG:32632")


def other_bands(field: Field) -> None:
    write_envi(field.folder / "other.raw", np.full((9, 4, 4), 0.2, np.float32), map_info=map_info(0, 48))
    field.write(cubes=[field.content["cubes"][0], {"image": "other.raw"}])


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (
            nothing_left,
            CubeError,
            r"none of 2 cubes can be used; copy them again:\nstrip-1\.raw: (.|\n)*\nstrip-2\.raw: ",
        ),
        (missing, MissingInputError, r"cubes\.1\.image: no file"),
        (other_crs, CampaignError, r"crs: is EPSG:32632, but strip-1\.hdr lies in EPSG:32633"),
        (other_bands, CubeError, "9 bands of 420 to 2380 nm, but strip-1.hdr has 24"),
    ],
)
def test_what_is_no_damage_of_one_cube_ends_the_step(
    field: Field, tmp_path: Path, fault: Callable[[Field], None], kind: type[FocusError], message: str
) -> None:
    fault(field)
    with pytest.raises(kind, match=message):
        run(field, tmp_path / "out")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_person_who_asks_for_nothing_is_refused(field: Field, tmp_path: Path) -> None:
    cut(field, "strip-2.raw")
    with pytest.raises(CubeError, match=r"strip-2\.raw: \d+ bytes, but strip-2\.hdr describes"):
        run(field, tmp_path / "out", leave_out_damaged=False)


def tiled(field: Field, out: Path) -> Metrics:
    return tile(str(field.campaign), str(out / "cube.zarr"), str(out / "tiles.zarr"), settings=TileSettings())


def fold_of(field: Field, out: Path) -> dict[str, str]:
    """Fold of each block, from the whole flight."""
    run(field, out)
    tiled(field, out)
    tiles = open_store(out / "tiles.zarr", TILES)
    return {
        str(name)[:2]: str(fold) for name, fold in zip(tiles["plot"].to_numpy(), tiles["fold"].to_numpy(), strict=True)
    }


def test_plots_that_lie_only_in_a_damaged_cube_have_no_window_and_keep_their_fold(field: Field, tmp_path: Path) -> None:
    folds = fold_of(field, tmp_path / "whole")
    left = [block for block, fold in folds.items() if block in ("P0", "P1")]
    trained = next(block for block, fold in folds.items() if fold == "train")
    cut(field, "strip-2.raw" if trained in left else "strip-1.raw")
    out = tmp_path / "part"
    assert run(field, out)["cubes_left_out"] == 1.0
    metrics = tiled(field, out)
    tiles = open_store(out / "tiles.zarr", TILES)
    kept = {str(name)[:2]: str(fold) for name, fold in zip(tiles["plot"].values, tiles["fold"].values, strict=True)}
    assert trained in kept
    assert len(kept) in (2, 3)
    assert all(folds[block] == fold for block, fold in kept.items())
    assert metrics["plots"] + metrics["plots_without_tile"] == 8
    assert metrics["plots_cut"] >= 4
    assert (tiles["valid_fraction"] >= 0.25).all()


def test_plots_beside_every_cube_are_a_mistake_all_the_same(field: Field, tmp_path: Path) -> None:
    cut(field, "strip-2.raw")
    run(field, tmp_path)
    field.write_plots([plot(f"F{row}", "control", f"B{row}", square(300, 20 * row, 10, 10)) for row in range(2)])
    with pytest.raises(CampaignError, match="plot 'F0' lies outside the image"):
        tiled(field, tmp_path)


def test_a_class_without_a_training_window_is_told_of_the_cube_that_has_it(field: Field, tmp_path: Path) -> None:
    folds = fold_of(field, tmp_path / "whole")
    trained = next(block for block, fold in folds.items() if fold == "train")
    cut(field, "strip-1.raw" if trained in ("P0", "P1") else "strip-2.raw")
    run(field, tmp_path)
    with pytest.raises(CampaignError, match="or mend the cubes that were left out: plots lie only there"):
        tiled(field, tmp_path)
