from pathlib import Path
from typing import Any

import pytest
import yaml

from focus_core.config import CampaignFile, LinearWavelengths, RasterPlots, VectorPlots
from focus_core.config.source import YamlSource
from focus_core.errors import CampaignError, MissingInputError

SMALL: dict[str, Any] = {
    "campaign": "field-1",
    "date": "2026-06-01",
    "sensor": "camera",
    "quantity": "reflectance",
    "crs": "EPSG:32633",
    "cubes": [{"image": "a.raw"}],
    "plots": {"file": "plots.gpkg"},
    "classes": ["control", "drought"],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "campaign.yaml"
    content = {key: value for key, value in (SMALL | changes).items() if value is not ...}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_a_small_campaign(tmp_path: Path) -> None:
    campaign = CampaignFile(write(tmp_path)).campaign
    assert campaign.date.isoformat() == "2026-06-01"
    assert isinstance(campaign.plots, VectorPlots)
    assert campaign.wavelength_groups.names[0] == "blue"
    assert sum(campaign.folds.shares.values()) == pytest.approx(1.0)


def test_forms_of_plots_and_wavelengths(tmp_path: Path) -> None:
    cubes = [{"image": "a.mat", "wavelengths": {"first_nm": 400, "last_nm": 900}}]
    plots = {"raster": "gt.mat", "values": {1: "control", 5: "drought"}, "block_px": 8}
    campaign = CampaignFile(write(tmp_path, cubes=cubes, plots=plots)).campaign
    assert isinstance(campaign.plots, RasterPlots)
    assert campaign.plots.raster == ["gt.mat"]
    assert campaign.plots.values == {1: "control", 5: "drought"}
    assert campaign.cubes[0].wavelengths == LinearWavelengths(first_nm=400, last_nm=900)


def test_a_typing_error_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, windwo={"size_px": 8})
    line = path.read_text().splitlines().index("windwo:") + 1
    with pytest.raises(CampaignError, match=rf"campaign\.yaml:{line}: windwo: no such setting; check the spelling"):
        CampaignFile(path)


def test_a_nested_typing_error_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, cubes=[{"image": "a.raw"}, {"image": "b.raw", "withe": "w.raw"}])
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "withe" in text)
    with pytest.raises(CampaignError, match=rf"campaign\.yaml:{line}: cubes\.1\.withe: no such setting"):
        CampaignFile(path)


def test_every_finding_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path, date="soon", sensor=..., quantity="counts")
    with pytest.raises(CampaignError) as caught:
        CampaignFile(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("sensor: is missing; add it" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["control", "control"]}, "classes: repeats a name"),
        ({"reference_class": "healthy"}, r"reference_class: names \['healthy'\], not among the classes .* spelling"),
        ({"masks": {"rust": "rust.tif"}}, r"masks: names \['rust'\], not among the classes"),
        ({"ranges_nm": {"rust": [[500, 600]]}}, r"ranges_nm: names \['rust'\]"),
        ({"ranges_nm": {"drought": [[600, 500]]}}, r"expected \[low, high\] in nm with 0 < low < high"),
        ({"cubes": [{"image": "a", "white": "w"}]}, "has one reference only; add 'dark'"),
        ({"cubes": [{"image": "a", "white": "w", "dark": "d", "exposure_ms": 4}]}, "count with 'white' only, and both"),
        ({"cubes": [{"image": "a", "panel_reflectance": 0.4}]}, "counts with 'white' and 'dark' only; add them"),
        ({"ranges_nm": {"drought": [[0.53, 0.57]]}}, r"expected nm, found \[0\.53, 0\.57\], .*; 1 µm is 1000 nm"),
        ({"bad_ranges_nm": [[1.35, 1.45]]}, "1 µm is 1000 nm"),
        ({"groups": {"red": [0.6, 0.7]}}, "1 µm is 1000 nm"),
        ({"cubes": [{"image": "a", "exposure_ms": 4, "white_exposure_ms": 2}]}, "count with 'white' only, and both"),
        ({"cubes": []}, r"cubes"),
        ({"folds": {"train": 0.9}}, "the four shares add up to 1.5; they must add up to 1"),
        ({"groups": "uniform:0.1"}, "the width must lie in 1-2100 nm"),
        ({"groups": "colours"}, "wavelength groups 'colours' are not known"),
        ({"plots": {"raster": "gt.mat", "values": {1: "rust"}, "block_px": 8}}, r"plots: names \['rust'\]"),
        ({"campaign": "../etc"}, "campaign: String should match pattern"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        CampaignFile(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "key", "finding"),
    [
        ({"groups": {"red": [0.6, 0.7]}}, "groups.red", "expected nm, found [0.6, 0.7], where no sensor sees; 1 µm is"),
        ({"plots": {"file": "a", "values": {1: "control"}}}, "plots.values", "no such setting; check the spelling"),
        ({"plots": {"raster": "a", "label": "b"}}, "plots.label", "no such setting; check the spelling"),
        ({"plots": "plots.gpkg"}, "plots", "expected a mapping of settings, found 'plots.gpkg'"),
        ({"classes": "control"}, "classes", "Input should be a valid list, found 'control'"),
        ({"reference_class": "healthy"}, "reference_class", "names ['healthy'], not among the classes ['control', "),
        ({"date": 20260601}, "date", "expected a day as in 2026-06-09, found 20260601"),
    ],
)
def test_a_finding_names_its_line_its_key_and_the_form_that_was_meant(
    tmp_path: Path, changes: dict[str, Any], key: str, finding: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(CampaignError) as caught:
        CampaignFile(path)
    own = [text for text in str(caught.value).splitlines() if f": {key}: " in text]
    keys = [text.split(":")[0].strip() for text in path.read_text().splitlines()]
    line = keys.index(key.split(".")[-1]) + 1
    assert len(own) == 1
    assert own[0].startswith(f"{path}:{line}: {key}: {finding}")
    assert all(": is missing; add it" in text for text in str(caught.value).splitlines() if text not in own)


def test_yaml_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    with pytest.raises(MissingInputError, match="no such campaign file; check the path"):
        CampaignFile(path)
    for content, message in (
        ("a: [1", r"campaign\.yaml:1: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", r"campaign\.yaml:3: the key 'a' stands twice"),
        ("- a\n", r"campaign\.yaml:1: expected a mapping"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    ):
        path.write_text(content)
        with pytest.raises(CampaignError, match=message):
            CampaignFile(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CampaignError, match="cannot be read as UTF-8"):
        CampaignFile(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flown: 2026-13-01", r":13: '2026-13-01' is no value: month must be in 1\.\.12; correct it"),
        (f"gain: {'9' * 5000}", r":13: '9{60}' is no value: Exceeds the limit"),
        ("note: \x07", r"yaml: not valid YAML: unacceptable character #x0007"),
        ("loop: &a [*a]", r":13: aliases make more than 1000000 values; write them out"),
        (f"deep: {'[' * 5000}{']' * 5000}", r"yaml: nested too deep for a file of settings"),
        (
            "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '1'] * 10)}]" for n in range(10)),
            r":18: aliases make more than 1000000 values",
        ),
    ],
)
def test_yaml_that_never_ends_or_holds_no_values(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text("\n" * 12 + line + "\n", encoding="utf-8")
    with pytest.raises(CampaignError, match=message):
        CampaignFile(path)


def test_an_alias_is_its_value(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n", encoding="utf-8")
    source = YamlSource(path)
    assert source.data == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_paths_stay_below_the_campaign_file(tmp_path: Path) -> None:
    folder = tmp_path / "field"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").write_text("x")
    file = CampaignFile(write(folder))
    assert file.resolve(("plots", "file"), "inside") == folder / "inside"
    for text in ("../secret", str(tmp_path / "secret"), "link", "a/../../secret"):
        with pytest.raises(CampaignError, match=r"campaign\.yaml:\d+: plots\.file: '.*' leads outside"):
            file.resolve(("plots", "file"), text)
    (folder / "loop").symlink_to("loop")
    for text in ("a\0b", "a" * 5000, "loop"):
        with pytest.raises(CampaignError, match=r"campaign\.yaml:\d+: plots\.file: '.*' is no path: .*; correct it"):
            file.resolve(("plots", "file"), text)
    with pytest.raises(MissingInputError, match=r"plots\.file: no file"):
        file.resolve(("plots", "file"), "nothing")


def test_data_may_lie_in_a_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.raw").write_text("x")
    (tmp_path / "secret").write_text("x")
    file = CampaignFile(write(tmp_path))
    monkeypatch.delenv("FIELD_DATA", raising=False)
    with pytest.raises(CampaignError, match="needs the environment variable FIELD_DATA"):
        file.resolve(("cubes", 0, "image"), "${FIELD_DATA}/a.raw")
    monkeypatch.setenv("FIELD_DATA", str(data))
    assert file.resolve(("cubes", 0, "image"), "${FIELD_DATA}/a.raw") == data / "a.raw"
    with pytest.raises(CampaignError, match="leads outside"):
        file.resolve(("cubes", 0, "image"), "${FIELD_DATA}/../secret")


def test_inputs_are_all_checked(tmp_path: Path) -> None:
    file = CampaignFile(write(tmp_path, cubes=[{"image": "a.raw", "white": "w.raw", "dark": "d.raw"}]))
    for name in ("a.raw", "w.raw", "d.raw"):
        with pytest.raises(MissingInputError, match=name):
            file.inputs()
        (tmp_path / name).write_text("x")
    (tmp_path / "plots.gpkg").write_text("x")
    assert [path.name for path in file.inputs()] == ["campaign.yaml", "a.raw", "w.raw", "d.raw", "plots.gpkg"]
