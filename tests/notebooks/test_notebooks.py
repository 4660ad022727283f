"""The notebooks run from top to bottom in a folder of their own, as a reader would run them, and say what is true."""

import ast
import hashlib
import importlib.util
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nbclient import NotebookClient

from focus_core.config import AggregateSettings, read_campaigns
from focus_core.steps.aggregate import aggregate
from tests.focus_core.aggregation.small_field import GROUPS, SPEAKS, write_flight

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
COLUMNS = ["flight", "group", "from_nm", "to_nm", "difference", "lo", "hi", "separates", "data"]


def read(path):
    book = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    return book, [cell for cell in book.cells if cell.cell_type == "code"]


def execute(path, folder):
    """Run a copy of a notebook in a folder; the first exception in a cell ends it."""
    book, _ = read(path)
    client = NotebookClient(book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return {cell.id: cell.outputs for cell in client.execute().cells if cell.cell_type == "code"}


def streamed(outputs, name):
    return "".join(item.text for item in outputs if item.output_type == "stream" and item.name == name)


def text(outputs):
    """What is printed and shown; rich shows its own wish for another package as if it were a result."""
    shown = [item.data["text/plain"] for item in outputs if item.output_type != "stream"]
    return streamed(outputs, "stdout") + "".join(each for each in shown if "ipywidgets" not in each)


def warned(outputs):
    """Lines that warn; libraries' progress bars would like another package, and say so."""
    lines = [line for items in outputs.values() for line in streamed(items, "stderr").splitlines()]
    return [line for line in lines if "Warning" in line and not re.search("TqdmWarning|ipywidgets", line)]


def table(outputs):
    """Return the cells of the one table that is shown, row by row; its text is wrapped and says less."""
    (html,) = [item.data["text/html"] for item in outputs if "text/html" in item.get("data", {})]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", html, flags=re.DOTALL)
    return [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]


def has_picture(outputs):
    return any("image/png" in item.get("data", {}) for item in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_what_a_machine_left_in_it(path):
    book, code = read(path)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert book.metadata.kernelspec.name == "python3"
    assert all(re.fullmatch(r"[a-z][a-z-]*", cell.id) for cell in book.cells)  # given, so that changes can be read
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in book.cells if cell.metadata] == []
    assert re.findall(r"""["'(]/\w[^"')]*|\b[A-Z]:\\|~/""", "\n".join(cell.source for cell in book.cells)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_public_names_only(path):
    _, code = read(path)
    nodes = [node for cell in code for node in ast.walk(ast.parse(cell.source))]
    private = [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    whole = [item.name for node in nodes if isinstance(node, ast.Import) for item in node.names]
    parts = [(node.module, item.name) for node in nodes if isinstance(node, ast.ImportFrom) for item in node.names]
    ours = [(module, name) for module, name in parts if module.split(".")[0] == "focus_core"]
    assert private == []
    assert [name for name in whole if name.startswith("focus_core.")] == []
    assert [(module, name) for module, name in ours if not is_public(module, name)] == []


def is_public(module, name):
    """Whether a name is a module without underscore, listed in ``__all__``, or defined where there is no list."""
    if any(part.startswith("_") for part in [*module.split("."), name]):
        return False
    if importlib.util.find_spec(module).submodule_search_locations and importlib.util.find_spec(f"{module}.{name}"):
        return True
    found = importlib.import_module(module)
    return (
        name in found.__all__
        if hasattr(found, "__all__")
        else getattr(getattr(found, name), "__module__", "") == module
    )


def test_nine_lines_and_the_store_alone_name_the_planted_wavelengths(tmp_path, capsys):
    for number in (1, 2):
        flight = write_flight(tmp_path, f"flight_{number}", seed=number, date=f"2026-0{number}-01")
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, str(tmp_path / "importance.zarr"), settings=AggregateSettings())
    alone = (tmp_path / "importance.zarr").rename(tmp_path.with_name(f"{tmp_path.name}-alone"))
    _, code = read(NOTEBOOKS[1])
    source = next(cell.source for cell in code if cell.id == "short")
    assert len([line for line in source.splitlines() if line.strip()]) < 10
    exec(source, {"PATH": alone})
    first, *rest = capsys.readouterr().out.splitlines()
    name, (lo_nm, hi_nm) = list(GROUPS.items())[SPEAKS["drought"]]
    assert re.fullmatch(rf"{name}: {lo_nm:g}-{hi_nm:g} nm, \+(\d\.\d+)", first)
    gaps = [float(line.split()[-1]) for line in (first, *rest)]
    assert len(gaps) == len(GROUPS)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1.0 > 2 * abs(gaps[-1])  # two logits were planted, of which the classes' mean takes a third


@pytest.mark.timeout(600)
def test_the_notebooks_run_one_after_the_other(tmp_path, monkeypatch):
    """One test, because the others read what the first wrote and the first takes most of a minute."""
    assert [path.stem for path in NOTEBOOKS] == [
        "01_from_campaign_to_curves", "02_read_a_campaign", "03_compare_with_rivals", "04_promote_and_roll_back",
    ]  # fmt: skip
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    first = execute(NOTEBOOKS[0], folder)
    written = tmp_path / "demo" / "first_look"
    store = xr.open_zarr(written / "run" / "importance.zarr").load()
    check_curves(first, store, written)

    monkeypatch.setenv("FOCUS_IMPORTANCE", "../demo/first_look/run/importance.zarr")
    second = execute(NOTEBOOKS[1], folder)
    flights = read_campaigns([str(path) for path in sorted(written.glob("field/*/campaign.yaml"))])
    planted = [file.campaign.ranges_nm["drought"] for file in flights]
    check_reading(second, store, written / "run", planted)
    check_rivals(execute(NOTEBOOKS[2], folder), store)
    check_registry(execute(NOTEBOOKS[3], folder), written / "run" / "models")
    assert list(folder.iterdir()) == []


def check_curves(outputs, store, written):
    assert store.sizes["campaign"] == 2
    assert store["present"].all()
    error = float(abs(store["importance"].sum("band") + store["bias"] - store["logit"]).max())
    assert error < 1e-4
    assert f"{error:.1e}" in text(outputs["sum"])
    assert has_picture(outputs["curves"])
    assert "simulated: true" in text(outputs["campaign"])
    right = float(re.search(r"named right: (\d+) %", text(outputs["run"])).group(1))
    held_out = (store["fold"] == "test").isel(campaign=1)
    found = store["probability"].isel(campaign=1).argmax("cls")
    hit = (found == store["label"].isel(campaign=1))[held_out]  # as many plots of each class
    assert right == pytest.approx(100 * float(hit.mean()), abs=0.51)
    assert right > 25
    reports = [Path(line) for line in text(outputs["report"]).splitlines()]
    assert [path.parent.name for path in reports] == store["campaign"].values.tolist()
    assert all(path.is_relative_to(written) and "<html" in path.read_text(encoding="utf-8") for path in reports)
    shown = "".join(text(items) for items in outputs.values())
    assert "Warning" not in shown


def check_reading(outputs, store, run, planted):
    table = pd.read_csv(run / "drought_against_control.csv")
    assert table.columns.tolist() == COLUMNS
    assert len(table) == store.sizes["campaign"] * store.sizes["group"]
    assert set(table["data"]) == {"simulated"}
    expected = [difference(store.isel(campaign=number)) for number in range(2)]
    np.testing.assert_allclose(table["difference"], np.concatenate(expected), atol=1e-9)
    assert (table["lo"] <= table["difference"]).all()
    assert (table["difference"] <= table["hi"]).all()
    assert (table["separates"] == ((table["lo"] > 0) | (table["hi"] < 0))).all()
    top = table[table["flight"] == "simulated-flight-2"].nlargest(5, "difference")
    shown = [line.split()[0] for line in text(outputs["top"]).splitlines()[2:]]
    assert shown == top["group"].tolist()
    together = text(outputs["together"]).splitlines()
    assert together[0].split() == ["lo_nm", "hi_nm", "difference", "lo", "hi", "p_adjusted"]
    for line in together[2:]:  # complete blocks: the same differences
        group, _, _, gap, *_ = line.split()
        wanted = table[(table["flight"] == "simulated-flight-2") & (table["group"] == group)]["difference"].item()
        assert float(gap) == pytest.approx(wanted, abs=6e-4)
    touched = [
        [any(low < hi_nm and lo_nm < high for low, high in ranges) for ranges in planted]
        for lo_nm, hi_nm in zip(top["from_nm"], top["to_nm"], strict=True)
    ]
    assert [second for _, second in touched[:2]] == [True, True]  # the planted answer of the flight that is shown
    assert sum(second for _, second in touched) >= 4
    inside = [all(each) for each in touched]
    assert inside[0]  # six of the twenty groups touch what was planted in both flights
    assert sum(inside) >= 3
    assert has_picture(outputs["flights"])
    assert -1 <= float(re.search(r"Spearman\): (\S+)", text(outputs["agreement"])).group(1)) <= 1
    assert text(outputs["what"]).count("simulated") >= 2
    assert warned(outputs) == []


def check_rivals(outputs, store):
    header, _, *rows = table(outputs["ask"])
    assert header[1:3] == ["balanced_accuracy", "time_over_focus"]
    methods = {row[0]: row for row in rows}
    assert list(methods) == [
        "focus", "gradcam", "eigencam", "integrated_gradients", "ablation", "occlusion", "rollout", "pls_vip", "forest",
    ]  # fmt: skip
    flight = store.isel(campaign=1)
    hit = flight["probability"].argmax("cls") == flight["label"]
    right = [hit[((flight["fold"] == "test") & (flight["label"] == cls)).to_numpy()].mean() for cls in range(4)]
    assert float(methods["focus"][1]) == pytest.approx(np.mean(right), abs=0.006)
    assert float(methods["focus"][2]) == 1.0
    assert "NaN" not in methods["focus"]
    assert methods["pls_vip"].count("NaN") == 2 + 3  # neither accuracy nor time, and no map of three classes
    assert text(outputs["read-out"]).count("\n\n") == len(methods)
    assert has_picture(outputs["picture"])
    assert float(text(outputs["exact"]).split()[-1]) < 1e-4
    assert warned(outputs) == []


def check_registry(outputs, models):
    said = {name: text(items) for name, items in outputs.items()}
    assert said["champion"].startswith("champion: version 1\n")
    assert said["train"].splitlines()[0].startswith("version 2: ")
    assert said["train"].endswith("champion: version 1\n")
    assert re.search(r"fails the gate: .*gate\.plots is \d+, at least 30 is asked", said["gate"])
    assert said["gate"].endswith("champion: version 1\n")
    assert said["override"].startswith("champion: version 2, ")
    assert said["rollback"].startswith("from version 2 to version 1, ")
    for cell, folder in (("override", "challenger"), ("rollback", "focus")):
        wanted = hashlib.sha256((models / folder / "focus.safetensors").read_bytes()).hexdigest()
        assert f"sha256 {wanted[:12]}…" in said[cell]
    trail = [row[1:3] for row in table(outputs["trail"])[2:]]
    assert trail == [["promote", "moved"], ["promote", "refused"], ["promote", "moved"], ["rollback", "moved"]]
    assert "version 1 of 'focus' is its champion; promote another version first" in said["delete"]


def difference(flight):
    """Mean over held-out drought plots less mean over control plots, of each group's bands summed for drought."""
    spoke = flight["importance"].sel(cls="drought").transpose("plot", "band").values
    of_band, fold = flight["group_of_band"].values, flight["fold"].values
    rows = [np.flatnonzero((fold == "test") & (flight["label"].values == number)) for number in (2, 0)]
    assert flight["cls"].values.tolist()[::2] == ["control", "drought"]
    return [
        spoke[rows[0]][:, of_band == group].sum(axis=1).mean() - spoke[rows[1]][:, of_band == group].sum(axis=1).mean()
        for group in range(flight.sizes["group"])
    ]
