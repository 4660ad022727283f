"""The same registry behind a real MLflow server, which answers in other types and checks where models come from."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby

import pytest
import requests
from mlflow.exceptions import MlflowException

from focus_core import tracking
from focus_core.errors import RegistryError
from focus_core.tracking.server import client
from tests.focus_core.tracking.real_server import Line, mlflow_server

pytestmark = pytest.mark.services


@pytest.fixture
def server(migrated_database, registry, monkeypatch):
    with mlflow_server(registry.parent, f"sqlite:///{registry}") as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url


@pytest.fixture
def line(server, monkeypatch):
    between = Line(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    yield between
    between.close()


def test_register_promote_fetch_roll_back_and_delete_through_a_server(server, register, gate):
    for number in (1, 2):
        assert register() == number
        tracking.promote("focus", number, **gate)
    assert tracking.champion("focus") == 2
    fetched = tracking.fetch_model("models:/focus@champion")
    assert sorted(path.name for path in fetched.iterdir()) == ["focus.json", "focus.safetensors"]
    assert tracking.fetch_backbone("models:/focus-backbone/1").is_dir()
    tracking.rollback("focus", reason="tried out")
    assert tracking.champion("focus") == tracking.champions(tracking.audit("focus"))[-1] == 1
    with pytest.raises(RegistryError, match="is its champion"):
        tracking.delete_version("focus", 1)
    with pytest.raises(RegistryError, match="backbone version 1 carries models:/focus/1, models:/focus/2"):
        tracking.delete_version("focus-backbone", 1)
    tracking.delete_version("focus", 2)


@pytest.mark.timeout(900)
def test_an_answer_lost_at_any_moment_of_a_promotion_leaves_one_promotion(line, register, gate):
    """MLflow's client sends again what the server has done already, the audit record among it."""
    for _ in range(2):
        register()
    gate["not_below_champion_by"] = {}
    tracking.promote("focus", 1, **gate)
    line.requests = 0
    tracking.promote("focus", 2, **gate)
    needed, promoted = line.requests, 2
    for number in range(1, needed + 1):
        line.requests, line.lose_answer_of = 0, number
        challenger = 1 if promoted % 2 == 0 else 2
        assert tracking.promote("focus", challenger, **gate).to_version == challenger
        assert line.requests > needed, "nothing was sent again: the answer was not lost"
        promoted += 1
        line.lose_answer_of = None
        trail = tracking.audit("focus")
        assert tracking.champion("focus") == tracking.champions(trail)[-1] == challenger
        assert [item.sequence for item in trail] == list(range(1, promoted + 1))
        assert all(item.moved for item in trail)


@pytest.mark.timeout(600)
def test_mlflow_away_in_the_middle_of_a_promotion_is_waited_for(line, register, gate):
    """Shortened to three seconds; MLflow's client asks seven times, which bridges half a minute and more."""
    number = register()
    line.requests = 0

    def cut_in_the_middle():
        while line.requests < 4:
            time.sleep(0.001)
        line.cut = True
        time.sleep(3)
        line.cut = False

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut_in_the_middle)
        record = tracking.promote("focus", number, **gate)
        cutting.result()
    assert record.moved
    assert tracking.audit("focus") == [record]
    assert tracking.champion("focus") == number


@pytest.mark.timeout(600)
def test_mlflow_that_stays_away_is_said_and_a_second_attempt_promotes_once(line, register, gate, monkeypatch):
    for _ in range(2):
        register()
    tracking.promote("focus", 1, **gate)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    line.cut_after = "runs/create"  # the audit record is written, the alias not moved
    with pytest.raises(
        RegistryError, match=r"(?s)MLflow at http.* could not make version 2.*check that it runs"
    ) as told:
        tracking.promote("focus", 2, **gate)
    assert "MLFLOW_TRACKING_URI names it" in str(told.value)
    line.cut, line.cut_after = False, None
    assert tracking.champion("focus") == 1
    tracking.promote("focus", 2, **gate)
    assert [item.state for item in tracking.audit("focus")] == ["done", "interrupted", "done"]
    assert tracking.champion("focus") == tracking.champions(tracking.audit("focus"))[-1] == 2
    assert sum(item.moved and item.to_version == 2 for item in tracking.audit("focus")) == 1


@pytest.mark.timeout(1200)
def test_a_hundred_promotions_and_rollbacks_at_once_on_postgresql_replay_to_the_champion(
    postgres, registry, register, gate, monkeypatch
):
    with mlflow_server(registry.parent, postgres) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        gate["not_below_champion_by"] = {}
        numbers = [register() for _ in range(3)]
        tracking.promote("focus", numbers[0], **gate)
        tracking.promote("focus", numbers[1], **gate)

        def act(index):
            if index % 4 == 3:
                with suppress(RegistryError):  # no earlier champion at this moment
                    tracking.rollback("focus", reason="turn and turn about")
            else:
                tracking.promote("focus", numbers[index % 3], **gate)

        seen, over = [], threading.Event()

        def look():
            while not over.is_set():
                aliases = client().get_registered_model("focus").aliases
                seen.append(int(aliases["champion"]))

        with ThreadPoolExecutor(11) as pool:
            looking = pool.submit(look)
            list(pool.map(act, range(100)))
            over.set()
            looking.result()  # at no moment was there no champion
        trail = tracking.audit("focus")
        replayed = [item.to_version for item in trail if item.moved]
        assert len(seen) > 100
        rest = iter(replayed)
        assert all(champion in rest for champion, _ in groupby(seen)), (
            "champions that the trail does not know, in order"
        )
        assert [item.sequence for item in trail] == list(range(1, len(trail) + 1))
        assert all(item.state == "done" for item in trail)
        assert [item.from_version for item in trail[1:]] == [item.to_version for item in trail[:-1]]
        assert tracking.champion("focus") == tracking.champions(trail)[-1]


@pytest.mark.timeout(600)
def test_who_is_not_known_or_may_only_read_neither_promotes_nor_deletes(registry, register, gate, monkeypatch):
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth needs Flask-WTF, which is not installed")
    folder = registry.parent
    (folder / "basic_auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": "word-of-the-admin",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key-of-this-test",
    }
    with mlflow_server(folder, f"sqlite:///{registry}", "--app-name", "basic-auth", **variables) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)

        def become(name, password):
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

        for name in ("trainer", "reader"):
            person = {"username": name, "password": f"word-of-the-{name}"}
            made = requests.post(f"{url}/api/2.0/mlflow/users/create", json=person, auth=("admin", "word-of-the-admin"))
            made.raise_for_status()
        become("trainer", "word-of-the-trainer")
        for _ in range(2):
            register()
        tracking.promote("focus", 1, **gate)

        become("reader", "word-of-the-reader")
        assert tracking.champion("focus") == 1
        for attempt in (
            lambda: tracking.promote("focus", 2, **gate),
            lambda: tracking.rollback("focus", reason="would like another"),
            lambda: tracking.delete_version("focus", 2),
            lambda: client().set_registered_model_alias("focus", "champion", "2"),
            lambda: client().delete_registered_model_alias("focus", "champion"),
        ):
            with pytest.raises((RegistryError, MlflowException)) as refusal:
                attempt()
            assert "ermission denied" in str(refusal.value) or "no earlier champion" in str(refusal.value)
        become("nobody", "guessed")
        for attempt in (
            lambda: tracking.promote("focus", 2, **gate),
            lambda: tracking.delete_version("focus", 2),
            lambda: tracking.audit("focus"),
        ):
            with pytest.raises(RegistryError, match=r"not authenticated|401"):
                attempt()
        become("trainer", "word-of-the-trainer")
        assert [(item.who, item.to_version) for item in tracking.audit("focus")] == [("trainer", 1)]
        assert tracking.champion("focus") == 1
        assert tracking.find_version("models:/focus/2", name="focus").number == 2
