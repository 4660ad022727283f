"""Flights that arrive in a bucket, at a real server."""

import json

import obstore
import pytest
from obstore.store import S3Store

from focus_core.config import RunLayout, RunSettings
from focus_core.errors import TargetError
from pipelines.bucket import fetch_flight, scan_bucket
from pipelines.ledger import Ledger
from pipelines.placement import Placement
from pipelines.server import Server
from pipelines.watch import AtServer, look

pytestmark = pytest.mark.services


@pytest.fixture
def upload(arrive, bucket):
    """Puts the files of a flight into the bucket."""
    store = S3Store.from_url(bucket)

    def build(name="flight-1", content="raw", folder=None, without=()):
        place = arrive(name, content, folder)
        for path in sorted(place.iterdir()):
            if path.name not in without:
                obstore.put(store, f"incoming/{place.name}/{path.name}", path)
        return f"{bucket}/incoming/{place.name}"

    return build


def scan(uri, settle_s=0.0, marker=None, known=lambda stamp: False):
    return scan_bucket(uri, settle_s=settle_s, marker=marker, known=known)


def test_only_whole_and_unseen_flights_are_ready_and_their_content_is_their_digest(upload, bucket):
    first, copy = upload(), upload(folder="elsewhere")
    missing = upload("flight-2", without={"plots.geojson"})
    found = scan(f"{bucket}/incoming")
    (one, _), (other, _) = found.ready
    assert {one.path, other.path} == {f"{place}/campaign.yaml" for place in (first, copy)}
    assert one.digest == other.digest
    assert one.stamp != other.stamp
    assert f"no file '{missing}/plots.geojson'" in found.waiting[f"{missing}/campaign.yaml"]
    assert len(scan(f"{bucket}/incoming", known={one.stamp}.__contains__).ready) == 1
    obstore.put(S3Store.from_url(copy), "strip.raw", b"other")  # the campaign file names the header alone
    assert len({flight.digest for flight, _ in scan(f"{bucket}/incoming").ready}) == 2


def test_a_flight_waits_until_it_has_settled_or_its_marker_is_there(upload, bucket):
    path = f"{upload()}/campaign.yaml"
    assert "taken up when nothing changed for 600 s" in scan(bucket, settle_s=600.0).waiting[path]
    assert "waits for the marker 'COMPLETE'" in scan(bucket, marker="COMPLETE").waiting[path]
    obstore.put(S3Store.from_url(bucket), "incoming/flight-1/COMPLETE", b"")
    assert len(scan(bucket, settle_s=600.0, marker="COMPLETE").ready) == 1


def test_a_broken_campaign_file_or_one_that_leads_out_hides_no_other(upload, bucket):
    good, broken, out = upload("flight-1"), upload("flight-2"), upload("flight-3")
    obstore.put(S3Store.from_url(broken), "campaign.yaml", b"campaign: [")
    text = bytes(obstore.get(S3Store.from_url(out), "campaign.yaml").bytes()).decode()
    obstore.put(S3Store.from_url(out), "campaign.yaml", text.replace("plots.geojson", "../secret").encode())
    found = scan(bucket)
    assert [flight.path for flight, _ in found.ready] == [f"{good}/campaign.yaml"]
    assert "not valid YAML" in found.waiting[f"{broken}/campaign.yaml"]
    assert "leads outside" in found.waiting[f"{out}/campaign.yaml"]


def test_a_flight_is_copied_whole_and_never_mixed_with_a_later_one(upload, bucket, tmp_path):
    place = upload()
    ((flight, _),) = scan(bucket).ready
    file = fetch_flight(flight, tmp_path / "copies")
    assert file.path == tmp_path / "copies" / "flight-1" / "campaign.yaml"
    assert file.path.with_name("strip.raw").read_text() == "raw"
    obstore.put(S3Store.from_url(place), "strip.raw", b"flown again")
    assert fetch_flight(flight, tmp_path / "copies").path == file.path  # it is there already
    with pytest.raises(TargetError, match="changed after it was found"):
        fetch_flight(flight, tmp_path / "others")
    ((again, _),) = scan(bucket).ready
    fetch_flight(again, tmp_path / "copies")
    assert file.path.with_name("strip.raw").read_text() == "flown again"


def test_each_flight_in_a_bucket_is_submitted_once_whoever_watches(upload, bucket, stand_in, tmp_path):
    server = stand_in()
    upload("flight-1")
    for watcher in ("first", "second"):
        runner = AtServer(
            Server(server.address, settle_s=0.0), RunLayout.below(tmp_path / "out"), RunSettings(), Placement()
        )
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
        done = look(bucket, ledger, runner, settle_s=0.0, marker=None, copies=tmp_path / watcher)
        assert done.started == (["flight-1"] if watcher == "first" else [])
        assert done.waiting == {}
        (entry,) = ledger.entries()
        assert entry.flight.path == f"{bucket}/incoming/flight-1/campaign.yaml"
        ledger.close()
    (run,) = server.runs.values()
    arguments = json.dumps(run["runtime_config"]["parameters"])
    assert str(tmp_path / "first" / "flight-1" / "campaign.yaml") in arguments
