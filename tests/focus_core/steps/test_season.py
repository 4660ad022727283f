"""A season goes on after a bad flight and says which one it was."""

import json
import shutil
from pathlib import Path

import pytest

from focus_core import tracking
from focus_core.config import RunLayout, SeasonSettings, from_mapping, read_campaigns
from focus_core.errors import CampaignError, FlightsError, MissingInputError
from focus_core.steps.run import run
from focus_core.steps.season import season


def spoiled(field, folder, name):
    """A copy of a flight whose first raw cube was cut off in the transfer."""
    shutil.copytree(field / "flight-2", folder / name)
    path = folder / name / "campaign.yaml"
    path.write_text(path.read_text().replace("simulated-flight-2", name))
    raw = max(path.parent.glob("*.*"), key=lambda item: item.stat().st_size)
    raw.write_bytes(raw.read_bytes()[:1000])
    return path


def test_every_bad_flight_is_named_with_its_reason(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("campaign: [")
    second.write_text("campaign: flight-2\n")
    flights = tmp_path / "flights.txt"
    flights.write_text(f"# of June\n{first}\nb.yaml\n\nabsent.yaml  # never flown\n")
    manifest = tmp_path / "out" / "season.json"
    with pytest.raises(FlightsError, match=r"3 of 3 flights failed(.|\n)*a\.yaml:1: not valid YAML") as told:
        season(str(flights), str(manifest), settings=SeasonSettings())
    assert "b.yaml:1: date: is missing; add it" in str(told.value)
    found = json.loads(manifest.read_text())
    assert [(Path(item["file"]).name, item["state"]) for item in found] == [
        ("a.yaml", "failed"),
        ("b.yaml", "failed"),
        ("absent.yaml", "failed"),
    ]
    assert "no such campaign file" in found[2]["reason"]
    assert season(str(flights), str(manifest), settings=SeasonSettings(may_fail=3)) == {"flights": 3.0, "failed": 3.0}


def test_a_list_that_names_nothing_is_refused(tmp_path):
    with pytest.raises(MissingInputError, match="no such list of flights"):
        season(str(tmp_path / "absent.txt"), str(tmp_path / "season.json"), settings=SeasonSettings())
    (tmp_path / "flights.txt").write_text("# none yet\n")
    with pytest.raises(CampaignError, match="names no flight"):
        season(str(tmp_path / "flights.txt"), str(tmp_path / "season.json"), settings=SeasonSettings())


@pytest.mark.services
def test_one_bad_cube_costs_that_cube(tiny_field, tiny_settings, registry, tmp_path):
    layout = RunLayout.below(tmp_path / "out")
    first, second = (tiny_field / f"flight-{index}" / "campaign.yaml" for index in (1, 2))
    run(read_campaigns([str(first)]), layout, tiny_settings)
    bad = spoiled(tiny_field, tmp_path, "cut-off")
    flights = tmp_path / "flights.txt"
    flights.write_text("\n".join(map(str, (first, bad, second))))
    settings = from_mapping(SeasonSettings, tiny_settings.model_dump(mode="json", exclude_defaults=True))
    with pytest.raises(FlightsError, match=r"1 of 3 flights failed(.|\n)*\ncut-off: "):
        season(str(flights), layout.season, settings=settings)
    found = {item["campaign"]: item for item in json.loads(Path(layout.season).read_text())}
    assert {name: item["state"] for name, item in found.items()} == {
        "simulated-flight-1": "done",
        "cut-off": "failed",
        "simulated-flight-2": "done",
    }
    assert found["cut-off"]["report"] == ""
    assert Path(found["simulated-flight-2"]["report"]).is_file()
    assert tracking.champion("focus") == 1
