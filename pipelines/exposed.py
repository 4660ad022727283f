"""What a standing watcher shows of itself to Prometheus. Knows names of metrics; decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from focus_core.errors import SettingsError
from pipelines.ledger import LedgerError
from pipelines.watch import Round


class Exposed:
    """Counts what the looks of one watcher come to, for ``/metrics``."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self._looks = Counter("focus_watch_scans", "Looks at the folder, failed ones too.", registry=own)
        self._errors = Counter("focus_watch_scan_errors", "Looks that failed.", registry=own)
        self._ledger = Counter(
            "focus_watch_ledger_errors", "Looks that failed for the ledger's database.", registry=own
        )
        self._seen = Counter("focus_watch_campaigns_seen", "Flights found whole that nobody knew.", registry=own)
        self._started = Counter("focus_watch_campaigns_started", "Flights started by this watcher.", registry=own)
        self._failed = Counter("focus_watch_campaigns_failed", "Flights it could not start.", registry=own)
        self._waiting = Gauge("focus_watch_campaigns_waiting", "Flights left alone at the last look.", registry=own)
        self._last = Gauge(
            "focus_watch_last_scan_timestamp_seconds", "When a look last ended well, Unix time.", registry=own
        )

    def counted(self, step: Callable[[], Round]) -> Callable[[], Round]:
        """Return a look that is counted."""

        def look() -> Round:
            self._looks.inc()
            try:
                done = step()
            except LedgerError:
                self._ledger.inc()
                self._errors.inc()
                raise
            except Exception:
                self._errors.inc()
                raise
            self._seen.inc(done.seen)
            self._started.inc(len(done.started))
            self._failed.inc(len(done.failed))
            self._waiting.set(len(done.waiting))
            self._last.set(time.time())
            return done

        return look

    def serve(self, port: int) -> int:
        """Answer Prometheus on a port of this machine, on a thread of its own; returns the port.

        Raises
        ------
        SettingsError
            If the port is taken.
        """
        try:
            server, _ = start_http_server(port, registry=self.registry)
        except OSError as error:
            raise SettingsError(f"--metrics-port {port} cannot be opened: {error}; choose another") from error
        return int(server.server_port)
