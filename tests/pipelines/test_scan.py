"""A flight is taken up when it has arrived whole, and known again by its content."""

import os
import time

import pytest

from focus_core.errors import MissingInputError
from pipelines.scan import scan


def nobody(_stamp):
    return False


def look(folder, settle_s=0.0, marker=None, known=nobody):
    return scan(folder, settle_s=settle_s, marker=marker, known=known)


def test_a_whole_flight_is_ready_and_its_digest_is_its_content(arrive, tmp_path):
    arrive()
    copy = arrive(folder="elsewhere")
    first, second = (flight for flight, _ in look(tmp_path / "incoming").ready)
    assert first.digest == second.digest
    assert first.stamp != second.stamp
    (copy / "strip.raw").write_text("other")  # the campaign file names the header alone
    changed = next(flight for flight, file in look(copy).ready)
    assert changed.digest != first.digest


def test_a_flight_that_still_grows_waits_whatever_time_its_copy_claims(arrive, tmp_path):
    place = arrive()
    long_ago = time.time() - 1e6
    for path in place.iterdir():
        os.utime(path, (long_ago, long_ago))
    found = look(tmp_path / "incoming", settle_s=60.0)
    assert found.ready == []
    assert "taken up when nothing changed for 60 s" in found.waiting[str(place / "campaign.yaml")]


def test_a_marker_replaces_the_wait(arrive, tmp_path):
    place = arrive()
    waiting = look(tmp_path / "incoming", settle_s=60.0, marker="COMPLETE").waiting
    assert "waits for the marker 'COMPLETE'" in waiting[str(place / "campaign.yaml")]
    (place / "COMPLETE").touch()
    assert len(look(tmp_path / "incoming", settle_s=60.0, marker="COMPLETE").ready) == 1


@pytest.mark.parametrize("name", ["strip.hdr", "plots.geojson"])
def test_a_flight_with_a_missing_file_waits_and_the_file_is_named(arrive, tmp_path, name):
    place = arrive()
    (place / name).unlink()
    found = look(tmp_path / "incoming")
    assert found.ready == []
    assert name in found.waiting[str(place / "campaign.yaml")]


def test_one_broken_campaign_file_does_not_hide_another(arrive, tmp_path):
    broken, _ = arrive("flight-1"), arrive("flight-2")
    (broken / "campaign.yaml").write_text("campaign: [")
    found = look(tmp_path / "incoming")
    assert [flight.campaign for flight, _ in found.ready] == ["flight-2"]
    assert "not valid YAML" in found.waiting[str(broken / "campaign.yaml")]


def test_a_known_stamp_is_not_read_again(arrive, tmp_path):
    place = arrive()
    ((flight, _),) = look(tmp_path / "incoming").ready
    found = look(tmp_path / "incoming", known={flight.stamp}.__contains__)
    assert (found.ready, found.waiting) == ([], {})
    (place / "strip.raw").write_text("grown")
    assert len(look(tmp_path / "incoming", known={flight.stamp}.__contains__).ready) == 1


def test_a_path_that_leads_out_of_the_folder_is_never_opened(arrive, tmp_path):
    (tmp_path / "secret").write_text("")
    place = arrive()
    file = place / "campaign.yaml"
    file.write_text(file.read_text().replace("plots.geojson", "../../secret"))
    assert "leads outside" in look(tmp_path / "incoming").waiting[str(file)]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(MissingInputError, match="give the one in which flights arrive"):
        look(tmp_path / "absent")
