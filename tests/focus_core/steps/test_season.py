"""A season goes on after a bad flight and says which one it was."""

import json
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import xarray as xr

from focus_core import tracking
from focus_core.config import CampaignFile, RunLayout, SeasonSettings, from_mapping, read_campaigns
from focus_core.errors import CampaignError, FlightsError, MissingInputError, StoreError
from focus_core.steps._flights import part_uris, read_flights, write_flights
from focus_core.steps.flights import flights as explain_chunk
from focus_core.steps.gather import gather
from focus_core.steps.run import run
from focus_core.steps.season import season
from focus_core.steps.split import split
from tests.focus_core.steps.spoiled import mended, spoiled
from tests.page import Page


@contextmanager
def restored_after_a_failed_try(field, path, layout):
    """Puts the raw cube of a `spoiled` flight back as soon as its status tells of a failed try, as a transfer would."""
    ended = threading.Event()

    def watch():
        while not ended.wait(0.05):
            for part in part_uris(layout.season):
                if any(item.file == str(path) and item.reason for item in read_flights(part)):
                    mended(field, path)
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
    assert season(str(flights), str(manifest), settings=SeasonSettings(may_fail=3)) == {
        "flights": 3.0,
        "failed": 3.0,
        "retried": 0.0,
        "cubes_left_out": 0.0,
    }


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
    bad, flaky = (spoiled(tiny_field, tmp_path, name) for name in ("cut-off", "flaky"))
    flights = tmp_path / "flights.txt"
    flights.write_text("\n".join(map(str, (first, bad, second, flaky))))
    how = {"retry_after_s": 2.0, "flights_per_chunk": 3}
    settings = from_mapping(SeasonSettings, tiny_settings.model_dump(mode="json", exclude_defaults=True) | how)
    told = pytest.raises(FlightsError, match=r"1 of 4 flights failed(.|\n)*\ncut-off: ")
    with restored_after_a_failed_try(tiny_field, flaky, layout), told:
        season(str(flights), layout.season, settings=settings)
    found = {item["campaign"]: item for item in json.loads(Path(layout.season).read_text())}
    assert {name: item["state"] for name, item in found.items()} == {
        "simulated-flight-1": "done",
        "cut-off": "failed",
        "simulated-flight-2": "done",
        "flaky": "done",
    }
    assert {name: item["tries"] for name, item in found.items()} == {
        "simulated-flight-1": 1,
        "cut-off": 2,
        "simulated-flight-2": 1,
        "flaky": 2,
    }
    assert found["cut-off"]["report"] == ""
    assert Path(found["simulated-flight-2"]["report"]).is_file()
    assert tracking.champion("focus") == 1


@pytest.mark.services
def test_of_a_flight_without_its_damaged_cube_the_rest_is_explained_and_the_season_says_so(
    tiny_field, tiny_settings, registry, tmp_path, caplog
):
    layout, listed = RunLayout.below(tmp_path / "out"), tmp_path / "flights.txt"
    first, second = (tiny_field / f"flight-{index}" / "campaign.yaml" for index in (1, 2))
    run(read_campaigns([str(first)]), layout, tiny_settings)
    bad = spoiled(tiny_field, tmp_path, "cut-off")
    listed.write_text(f"{bad}\n{second}\n")
    how = {"ingest": {"leave_out_damaged": True}, "retries": 0}
    settings = from_mapping(SeasonSettings, tiny_settings.model_dump(mode="json", exclude_defaults=True) | how)
    figures = season(str(listed), layout.season, settings=settings)
    assert figures == {"flights": 2.0, "failed": 0.0, "retried": 0.0, "cubes_left_out": 1.0}
    part, whole = json.loads(Path(layout.season).read_text())
    assert (part["state"], whole["state"], whole["left_out"]) == ("done", "done", [])
    (told,) = part["left_out"]
    name, _, reason = told.partition(": ")
    assert (bad.parent / name).stat().st_size < (tiny_field / "flight-2" / name).stat().st_size
    assert "bytes, but" in reason
    assert f"cut-off: explained without its damaged cubes:\n{told}" in caplog.text

    with xr.open_zarr(layout.importance, consolidated=False) as store:
        present = store["present"].load()
        assert present.sel(campaign="simulated-flight-2").all()
        kept = present.sel(campaign="cut-off").to_numpy()
        assert 0 < kept.sum() < kept.size
        lost = store[["importance", "logit", "spectrum"]].sel(campaign="cut-off").isel(plot=~kept)
        assert all(lost[variable].isnull().all() for variable in lost)
    page = Page(Path(part["report"]).read_text(encoding="utf-8")).text
    assert f"Damaged and left out: 1 of {len(CampaignFile(bad).campaign.cubes)} cubes." in page
    assert reason in page
    absent = [str(plot) for plot in present["plot"].to_numpy()[~kept]]
    assert f"not explained: {absent[0]}" in page


def test_the_list_is_cut_and_of_two_flights_with_one_id_the_second_fails(tiny_field, tmp_path):
    first, second = (tiny_field / f"flight-{index}" / "campaign.yaml" for index in (1, 2))
    double = tmp_path / "double"
    shutil.copytree(tiny_field / "flight-1", double)
    listed, manifest = tmp_path / "flights.txt", str(tmp_path / "out" / "season.json")
    listed.write_text("\n".join(map(str, (first, second, double / "campaign.yaml"))))
    for size, chunks in ((1, 3), (2, 2)):
        settings = SeasonSettings(flights_per_chunk=size)
        assert split(str(listed), manifest, settings=settings) == {"flights": 3.0, "chunks": float(chunks)}
        parts = [read_flights(part) for part in part_uris(manifest)]
        assert [len(part) for part in parts] == [size] * (3 // size) + [1] * (3 % size)
        states = [(item.campaign, item.state) for part in parts for item in part]
        assert states == [
            ("simulated-flight-1", "waiting"),
            ("simulated-flight-2", "waiting"),
            ("simulated-flight-1", "failed"),
        ]
    assert f"is the id of {first} too" in parts[-1][-1].reason


def test_a_chunk_whose_task_was_killed_is_told_and_goes_on_where_it_stood(tmp_path):
    listed, manifest = tmp_path / "flights.txt", str(tmp_path / "out" / "season.json")
    (tmp_path / "a.yaml").write_text("campaign: [")
    listed.write_text("a.yaml\n")
    split(str(listed), manifest, settings=SeasonSettings())
    (part,) = part_uris(manifest)
    (item,) = read_flights(part)
    killed = item.model_copy(update={"state": "running", "tries": 1, "reason": "no room on the disk"})
    done = item.model_copy(update={"file": "b.yaml", "state": "done", "tries": 1})
    write_flights(part, [done, killed])
    with pytest.raises(FlightsError, match=r"ended before it was done; run the season again \(no room on the disk\)"):
        gather(manifest, settings=SeasonSettings())
    assert explain_chunk(part, manifest, settings=SeasonSettings()) == {"flights": 2.0, "failed": 1.0}
    after = read_flights(part)
    assert after[0] == done
    assert (after[1].state, after[1].tries) == ("failed", 2)
    assert "not valid YAML" in after[1].reason


@pytest.mark.parametrize("text", ["{", "[1]", '[{"file": "a", "state": "lost"}]'])
def test_a_part_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "season").mkdir()
    (tmp_path / "season" / "0000.json").write_text(text)
    with pytest.raises(StoreError, match="is no status of flights"):
        gather(str(tmp_path / "season.json"), settings=SeasonSettings())
    with pytest.raises(MissingInputError, match="was never split"):
        gather(str(tmp_path / "other.json"), settings=SeasonSettings())
