import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr

import focus_core
from focus_core import tracking
from focus_core.config import RunSettings
from focus_core.config.run import RunLayout, read_campaigns
from focus_core.cubes.schema import EXPLANATION, check
from focus_core.errors import FocusError, MissingInputError, SettingsError, StoreError
from focus_core.steps.run import run

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def chain(tiny_field: Path, tiny_settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("api")
    layout = RunLayout.below(str(out))
    layout.make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        tracking.configure(layout.tracking)
        run(read_campaigns([str(tiny_field / "flight-1" / "campaign.yaml")]), layout, tiny_settings)
        yield out


def only(chain: Path, name: str) -> Path:
    (path,) = chain.rglob(name)
    return path


@pytest.fixture(scope="module")
def model(chain: Path) -> "focus_core.api.LoadedModel":
    return focus_core.load(RunLayout.below(str(chain)).model)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, focus_core; print([m for m in ('torch', 'mlflow', 'kfp', 'matplotlib') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_tiles_are_explained_as_the_step_explains_them(model: "focus_core.api.LoadedModel", chain: Path) -> None:
    found = check(model.explain(only(chain, "tiles.zarr")), EXPLANATION, where="the explanation")
    stored = xr.open_zarr(only(chain, "explanation.zarr"), consolidated=False)
    for name in ("importance", "logit", "saliency"):
        np.testing.assert_allclose(found[name], stored[name], atol=1e-5)
    np.testing.assert_allclose(found["importance"].sum("group") + found["bias"], found["logit"], atol=1e-5)


def test_a_cube_is_cut_into_windows_side_by_side(model: "focus_core.api.LoadedModel", chain: Path) -> None:
    cube = xr.open_zarr(only(chain, "cube.zarr"), chunks={}, consolidated=False)
    size = 8
    part = cube.isel(y=slice(0, 2 * size + 3), x=slice(0, 3 * size))
    found = model.explain(part)
    assert found["row"].to_numpy().tolist() == [0, 0, 0, 8, 8, 8]
    assert found["col"].to_numpy().tolist() == [0, 8, 16, 0, 8, 16]
    alone = model.explain(cube.isel(y=slice(8, 16), x=slice(16, 24)))
    np.testing.assert_allclose(found["importance"].isel(tile=5), alone["importance"].isel(tile=0), atol=1e-5)


def test_the_curve_is_the_weighted_mean_over_tiles_per_nm(model: "focus_core.api.LoadedModel", chain: Path) -> None:
    found = model.explain(only(chain, "tiles.zarr"))
    name = model.classes[1]
    curve = found.focus.curve(name)
    weight = found["coverage"] / found["coverage"].sum()
    total = float((found["importance"].sel(cls=name) * weight).sum())
    group = found["group_of_band"].to_numpy()
    width = (found["group_hi_nm"] - found["group_lo_nm"]).to_numpy()
    first = [np.flatnonzero(group == index)[0] for index in range(len(width))]
    assert float((curve.to_numpy()[first] * width).sum()) == pytest.approx(total, abs=1e-5)
    assert np.isnan(curve.to_numpy()[group < 0]).all()
    table = found.focus.top_groups(name, k=2)
    assert table["importance"].is_monotonic_decreasing
    assert list(table.index) == list(table.index.intersection(model.groups.index))


def test_plots_show_the_values_with_units(model: "focus_core.api.LoadedModel", chain: Path, tmp_path: Path) -> None:
    found = model.explain(only(chain, "tiles.zarr"))
    axes = found.focus.plot_curve("drought")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), found.focus.curve("drought"))
    assert axes.get_xlabel() == "wavelength (nm)"
    assert "simulated data" in axes.get_title()
    axes.figure.savefig(tmp_path / "curve.png")
    place = found.focus.plot_saliency("drought", tile=1)
    wanted = found["saliency"].isel(tile=1).sel(cls="drought").sum("group")
    np.testing.assert_allclose(place.images[0].get_array(), wanted)
    place.figure.savefig(tmp_path / "saliency.png")
    alone = found.isel(tile=1).focus.plot_saliency("drought")
    np.testing.assert_allclose(alone.images[0].get_array(), wanted)
    assert f"plot {found['plot'].to_numpy()[1]}" in alone.get_title()
    matplotlib.pyplot.close("all")


def test_importance_of_a_campaign_has_the_same_curve(chain: Path) -> None:
    stored = xr.open_zarr(only(chain, "importance.zarr"), consolidated=False)
    wanted = stored["importance_per_nm"].sel(cls="drought").mean(["campaign", "plot"])
    np.testing.assert_allclose(stored.focus.curve("drought"), wanted)
    assert stored.focus.plot_curve("drought").get_title() == "simulated-flight-1 (simulated data)"
    assert stored.isel(campaign=0).focus.plot_curve("drought").get_title() == "simulated-flight-1 (simulated data)"
    matplotlib.pyplot.close("all")
    with pytest.raises(StoreError, match=r"open explanation\.zarr"):
        stored.focus.plot_saliency("drought")


def test_rivals_are_scored_on_the_same_plots(model: "focus_core.api.LoadedModel", chain: Path, tmp_path: Path) -> None:
    tiles, reference = only(chain, "tiles.zarr"), only(chain, "reference.zarr")
    table = model.compare_rivals(tiles, tiles, reference, most_windows=4)
    on_head = ["gradcam", "eigencam", "integrated_gradients", "ablation", "occlusion", "rollout"]
    assert list(table.index) == ["focus", *on_head, "pls_vip", "forest"]
    assert table.loc["focus", "time_over_focus"] == 1.0
    assert table["balanced_accuracy"][on_head].nunique() == 1  # all explain one head
    assert (table.loc["integrated_gradients":"ablation", "time_over_focus"] > 1.0).all()
    iou, auc = (table.filter(like=f"{score}.drought").squeeze(axis=1) for score in ("band_iou", "spatial_auc"))
    assert list(iou.index[iou.isna()]) == ["occlusion", "rollout"]
    assert list(auc.index[auc.isna()]) == ["ablation", "pls_vip", "forest"]
    assert table["read_out"].str.len().min() > 20
    with pytest.raises(MissingInputError):
        model.compare_rivals(tiles, tiles, tmp_path / "absent.zarr")
    with pytest.raises(SettingsError, match="at least one window"):
        model.compare_rivals(tiles, tiles, reference, most_windows=0)


def test_a_mistake_is_answered_with_what_there_is(
    model: "focus_core.api.LoadedModel", chain: Path, tmp_path: Path
) -> None:
    found = model.explain(xr.open_zarr(only(chain, "tiles.zarr"), consolidated=False).isel(tile=slice(0, 2)))
    with pytest.raises(SettingsError, match="did you mean 'drought'"):
        found.focus.curve("drougth")
    for moved in (found.sortby("group_lo_nm", ascending=False), found.isel(group=slice(1, None))):
        with pytest.raises(StoreError, match="groups of the dataset were sorted or chosen"):
            moved.focus.curve("drought")
    with pytest.raises(StoreError, match="the dataset is of one cls; leave cls whole"):
        found.isel(cls=1).focus.curve("drought")
    with pytest.raises(SettingsError, match="holds 0 to 1"):
        found.focus.plot_saliency("drought", tile=2)
    with pytest.raises(MissingInputError, match="run the step that writes it"):
        model.explain(tmp_path / "absent.zarr")
    with pytest.raises(StoreError, match="needs 'reflectance'"):
        model.explain(xr.Dataset())
    cube = xr.open_zarr(only(chain, "cube.zarr"), consolidated=False)
    with pytest.raises(StoreError, match=r"a DataArray does not say .* give the path"):
        model.explain(cube["reflectance"])
    with pytest.raises(StoreError, match="no window holds a valid pixel; give another part"):
        model.explain(cube.assign(valid=cube["valid"] & False))
    with pytest.raises(SettingsError, match="batch_tiles is 0"):
        model.explain(cube, batch_tiles=0)
    with pytest.raises(FocusError, match="absent"):
        focus_core.load(tmp_path / "absent")
    with pytest.raises(SettingsError, match="no device 'gpu'; auto takes a GPU where there is one"):
        focus_core.load(tmp_path / "absent", device="gpu")


def test_the_readme_runs_as_it_stands(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "run").symlink_to(chain)
    monkeypatch.chdir(tmp_path)
    readme = Path(__file__).parents[3] / "README.md"
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(block, str(readme), "exec"), {})
    assert (tmp_path / "drought.png").stat().st_size > 5000
    matplotlib.pyplot.close("all")
