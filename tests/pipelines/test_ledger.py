"""One content is given out once, to however many processes ask, on SQLite and on PostgreSQL."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from focus_core.errors import SettingsError
from pipelines import ledger as module
from pipelines.ledger import Flight, Ledger, LedgerError

ROOT = Path(__file__).parents[2]
FLIGHT = Flight(campaign="flight-1", path="somewhere/campaign.yaml", digest="a" * 64, stamp="b" * 64)
CLAIM = """
import sys
from pipelines.ledger import Flight, Ledger
flight = Flight(campaign="flight-1", path="somewhere/campaign.yaml", digest="a" * 64, stamp="b" * 64)
print("ready", flush=True)
sys.stdin.readline()
print(Ledger(sys.argv[1]).claim(flight))
"""


def claims_of_ten(url):
    """All ten open the ledger, which none has made before, at one moment."""
    command, pipe = [sys.executable, "-c", CLAIM, url], subprocess.PIPE
    running = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(10)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 10
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0].strip() for process in running]


@pytest.fixture
def book(tmp_path):
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def test_of_ten_processes_one_gets_the_flight(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert sorted(claims_of_ten(url)) == ["False"] * 9 + ["True"]
    book = Ledger(url)
    (entry,) = book.entries()
    book.close()
    assert (entry.flight, entry.state, entry.attempts) == (FLIGHT, "claimed", 1)


@pytest.mark.services
def test_of_ten_processes_one_gets_the_flight_on_postgresql(postgres):
    assert sorted(claims_of_ten(postgres)) == ["False"] * 9 + ["True"]
    book = Ledger(postgres)
    assert book.close_flight(FLIGHT, "failed", "killed") is False  # it is another process's
    assert [entry.state for entry in book.entries()] == ["claimed"]
    book.close()


def test_a_claim_without_a_sign_of_life_is_taken_over_and_the_first_holder_has_lost_it(book, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.05)
    assert book.claim(FLIGHT)
    other = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    assert not other.claim(FLIGHT)
    assert book.known(FLIGHT.stamp)
    time.sleep(0.1)
    assert not book.known(FLIGHT.stamp)
    assert other.claim(FLIGHT)
    assert not book.renew(FLIGHT)
    assert not book.submitted(FLIGHT, "run-1")
    assert not book.close_flight(FLIGHT, "done")
    assert other.renew(FLIGHT)
    assert other.close_flight(FLIGHT, "done")
    assert [(entry.state, entry.attempts) for entry in book.entries()] == [("done", 2)]
    other.close()


def test_a_failed_flight_is_given_out_again_only_where_asked(book):
    assert book.claim(FLIGHT)
    assert book.close_flight(FLIGHT, "failed", "no champion")
    assert book.known(FLIGHT.stamp)
    assert not book.claim(FLIGHT)
    assert not book.known(FLIGHT.stamp, failed_too=True)
    assert book.claim(FLIGHT, failed_too=True)
    assert [(entry.state, entry.reason, entry.attempts) for entry in book.entries()] == [("claimed", "", 2)]


def test_a_done_flight_is_never_given_out_again(book):
    book.claim(FLIGHT)
    book.close_flight(FLIGHT, "done")
    assert not book.claim(FLIGHT, failed_too=True)


def test_names_reach_the_database_as_values(book):
    hostile = Flight(campaign="x'); DROP TABLE focus_flights;--", path="'\";--", digest="c" * 64, stamp="d" * 64)
    assert book.claim(hostile)
    assert book.known(hostile.stamp)
    assert not book.known("' OR '1'='1")
    assert [entry.flight for entry in book.entries()] == [hostile]


def test_it_lives_beside_mlflows_tables(registry):
    book = Ledger(f"sqlite:///{registry}")
    assert book.claim(FLIGHT)
    book.close()
    from focus_core.tracking.server import client

    assert client().search_experiments()


@pytest.mark.parametrize("url", ["mysql://somewhere/x", "nonsense", "http://mlflow:5000"])
def test_another_kind_of_database_is_refused(url):
    with pytest.raises(SettingsError, match="give sqlite:///PATH or postgresql://"):
        Ledger(url)


def test_a_database_out_of_reach_is_named_without_its_password(tmp_path):
    with pytest.raises(LedgerError, match=r"could not open the ledger at .*unable to open") as told:
        Ledger(f"sqlite:///{tmp_path}/absent/ledger.db")
    assert "check that the database runs" in str(told.value)
    with pytest.raises(LedgerError) as told:
        Ledger("postgresql://focus:hidden-word@127.0.0.1:1/focus")
    assert "hidden-word" not in str(told.value)
