"""A whole run: what is refused before its first step, and where its stores lie."""

from pathlib import Path

import pytest

from focus_core.config import CampaignFile, RunLayout, RunSettings, from_mapping, read_campaigns
from focus_core.errors import CampaignError, MissingInputError, SettingsError, TargetError

CAMPAIGN = """campaign: {name}
date: 2026-06-01
sensor: planted
quantity: reflectance
cubes:
- image: cube.raw
plots: {{file: plots.gpkg}}
classes: [control, drought]
"""


@pytest.fixture
def write(tmp_path):
    def campaign(name, folder="."):
        path = tmp_path / folder / "campaign.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(CAMPAIGN.format(name=name))
        for file in ("cube.raw", "plots.gpkg"):
            (path.parent / file).touch()
        return str(path)

    return campaign


def test_everything_lies_below_one_folder_and_nothing_twice(write, tmp_path):
    layout = RunLayout.below(tmp_path / "out")
    own = layout.campaign(CampaignFile(write("flight-1")))
    paths = [own.cube, own.reference, own.tiles, own.explanation, own.evaluation, own.report]
    paths += [layout.backbone, layout.model, layout.importance, layout.summary, str(layout.kubeflow)]
    assert len(set(paths)) == len(paths)
    assert all(Path(path).is_relative_to(tmp_path / "out") for path in paths)
    assert all(Path(path).parent == tmp_path / "out" / "flight-1" for path in paths[:6])
    assert layout.tracking == f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert RunLayout.below("out").importance == str(tmp_path / "out" / "importance.zarr")


@pytest.mark.parametrize("name", ["models", "importance.zarr", "mlflow.db", "summary.json"])
def test_an_id_that_a_run_needs_itself_is_refused_by_line(write, tmp_path, name):
    with pytest.raises(CampaignError, match=rf"campaign\.yaml:1: campaign: '{name}' .*choose another id"):
        RunLayout.below(tmp_path).campaign(CampaignFile(write(name)))


def test_two_campaigns_of_one_id_are_refused(write):
    with pytest.raises(CampaignError, match=r"'flight' is the id of .*a/campaign\.yaml too; give each its own"):
        read_campaigns([write("flight", "a"), write("flight", "b")])


def test_a_missing_file_is_refused_before_the_first_step(write, tmp_path):
    path = write("flight")
    (tmp_path / "cube.raw").unlink()
    with pytest.raises(MissingInputError, match=r"campaign\.yaml:6: cubes\.0\.image: no file"):
        read_campaigns([path])


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="choose another --out"):
        RunLayout.below(tmp_path / "file" / "out").make()


def test_the_champion_is_of_the_model_that_is_trained():
    names = {"train": {"model_name": "wheat"}, "promote": {"model_name": "wheat"}}
    assert from_mapping(RunSettings, names).champion == "models:/wheat@champion"
    with pytest.raises(SettingsError, match="give one name"):
        from_mapping(RunSettings, {"train": {"model_name": "wheat"}})
