"""A Kubeflow server: runs are submitted to it, followed, and found again by name.

Knows the server's answers; does not know why a flight is submitted.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from focus_core.errors import FocusError, SettingsError

if TYPE_CHECKING:
    from pipelines.placement import Placement

EXPERIMENT = "focus"
_GOOD = "SUCCEEDED"
_BAD = ("FAILED", "CANCELED", "SKIPPED")
_LOST = (*_BAD, "CANCELING")
SETTLE_SECONDS = 3.0
"""How long a server may take to show a run to others, s; its own times of creation are whole seconds."""
_FIRST_POLL_SECONDS = 0.1
_POLL_SECONDS = 10.0
_GONE = 404
_PROBE_SECONDS = 20.0

logger = logging.getLogger(__name__)


class ServerError(FocusError, ConnectionError):
    """The Kubeflow server does not answer or refuses."""


@dataclass(frozen=True)
class RunState:
    """Where a run stands."""

    state: str
    """The server's word: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELED …"""
    tasks: Mapping[str, str]
    """State of each task that has started."""
    reason: str
    """What the server says of what failed; empty where nothing did."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state == _GOOD or self.failed

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.state in _BAD


class Server:
    """A Kubeflow Pipelines API server.

    Parameters
    ----------
    address
        Its ``http(s)://`` address, e.g. of ``kubectl port-forward``.
    namespace
        The profile's namespace on a server for several users; ``None`` elsewhere.
    token
        Bearer token, where the server asks for one.
    settle_s
        How long others who submit the same at the same moment are waited for, seconds.

    Raises
    ------
    ServerError
        If it does not answer.
    SettingsError
        If the address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        namespace: str | None = None,
        token: str | None = None,
        settle_s: float = SETTLE_SECONDS,
    ) -> None:
        self.address, self._settle_s = address, settle_s
        self._probe(token)
        with _quiet(), self._reported("be reached"):
            from kfp.client import Client

            self._client = Client(host=address, namespace=namespace or "kubeflow", existing_token=token)

    def submit(self, pipeline: str, name: str, arguments: Mapping[str, Any], placement: Placement) -> str:
        """Start a run and return its id; a run of this name that has not failed is taken instead.

        A server takes any number of runs of one name. Of all that submit it at once, each therefore looks again when
        the others' runs must be visible, keeps the first, and takes its own back where that is not the first.

        Parameters
        ----------
        pipeline, arguments, placement
            What runs, on what and where.
        name
            Name of the run, made of everything that it depends on.

        Raises
        ------
        ServerError
            If the server does not answer or refuses.
        """
        found = self.find(name)
        if found is not None:
            logger.info("'%s' was submitted before as run %s", name, found)
            return found
        from pipelines.compile import compile_one

        with tempfile.TemporaryDirectory() as folder:
            package = str(compile_one(pipeline, Path(folder), placement))
            with _quiet(), self._reported(f"take the run '{name}'"):
                started = self._client.create_run_from_pipeline_package(
                    package, arguments=dict(arguments), run_name=name, experiment_name=EXPERIMENT, enable_caching=False
                )
        return self._give_way(name, str(started.run_id))

    def find(self, name: str) -> str | None:
        """Return the id of the first run of this name that has not failed and is not being ended."""
        chosen = json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})
        with self._reported(f"look for the run '{name}'"):
            page = self._client.list_runs(page_size=100, sort_by="created_at desc", filter=chosen)
        standing = [(run.created_at, str(run.run_id)) for run in page.runs or () if run.state not in _LOST]
        return min(standing)[1] if standing else None

    def state(self, run_id: str) -> RunState:
        """Return where a run stands; one that was deleted has failed."""
        import kfp_server_api

        with self._reported(f"tell of the run {run_id}"):
            try:
                run = self._client.get_run(run_id)
            except kfp_server_api.ApiException as error:
                if error.status != _GONE:
                    raise
                return RunState("FAILED", {}, "the server knows no such run any more; it was deleted")
        details = (run.run_details.task_details if run.run_details else None) or []
        tasks = {task.display_name: task.state or "PENDING" for task in details if task.display_name}
        reasons = [
            f"{task.display_name}: {task.error.message if task.error else 'no message; see its log'}"
            for task in details
            if task.state == "FAILED" and not task.child_tasks
        ]
        if run.error and run.error.message:
            reasons.append(run.error.message)
        return RunState(run.state or "PENDING", tasks, "; ".join(reasons))

    def follow(self, run_id: str, say: Callable[[str], None]) -> RunState:
        """Wait for a run, telling each change; returns how it ended.

        A server that does not answer meanwhile is asked again: the run goes on without the one who watches it.
        """
        told: dict[str, str] = {}
        wait_s = _FIRST_POLL_SECONDS
        while True:
            try:
                now = self.state(run_id)
            except ServerError as error:
                say(f"{error}; asking again")
            else:
                for task, state in {"run": now.state, **now.tasks}.items():
                    if told.get(task) != state:
                        told[task] = state
                        say(f"{task}: {state.lower()}")
                if now.over:
                    return now
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _POLL_SECONDS)

    def _give_way(self, name: str, own: str) -> str:
        """Return the first run of this name, and take one's own back where it is another."""
        time.sleep(self._settle_s)
        first = self.find(name)
        if first is None or first == own:
            return own
        logger.info("'%s' was submitted at the same moment as run %s; run %s is taken back", name, first, own)
        with self._reported(f"take the run {own} back"):
            self._client.delete_run(own)
        return first

    def _probe(self, token: str | None) -> None:
        """Ask once whether the server is there; the client would ask for half a minute and print each traceback."""
        if urlsplit(self.address).scheme not in ("http", "https"):
            raise SettingsError(f"'{self.address}' is no http(s):// address of a Kubeflow server; correct --server")
        request = urllib.request.Request(f"{self.address.rstrip('/')}/apis/v2beta1/healthz")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            raise self._refused("be reached", error.code, error.reason) from error
        except (urllib.error.URLError, OSError) as error:
            raise self._away("be reached", error) from error

    def _refused(self, action: str, status: int, told: str) -> ServerError:
        what = "your token was refused" if status in (401, 403) else f"it answered {status}"
        return ServerError(f"the Kubeflow server at {self.address} could not {action}: {what}: {told.strip()}")

    def _away(self, action: str, error: Exception) -> ServerError:
        return ServerError(
            f"the Kubeflow server at {self.address} could not {action}: {error}; check the address, or open a way to "
            "it: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888, then --server http://localhost:8888"
        )

    @contextmanager
    def _reported(self, action: str) -> Iterator[None]:
        import kfp_server_api
        import urllib3

        try:
            yield
        except kfp_server_api.ApiException as error:
            raise self._refused(action, error.status, str(error.body or error.reason)) from error
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            raise self._away(action, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client's links, which it prints, and its warning of itself away from the terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", "This client only works with", FutureWarning)
        yield
