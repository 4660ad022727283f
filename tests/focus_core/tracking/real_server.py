"""A real MLflow server of a test's own, and the line between it and a client, which can be cut."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A real MLflow server in front of a database, which can be stopped and started again at its address."""

    def __init__(self, folder, database, *options, **variables):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "server.log"
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        self._command += ["--workers", "1", "--backend-store-uri", database, "--serve-artifacts"]
        self._command += ["--artifacts-destination", str(folder / "served"), *options]
        self._environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **variables,
        }

    def start(self):
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        deadline = time.monotonic() + 240
        while not answers(f"{self.url}/health"):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.5)

    def stop(self):
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(60)


@contextmanager
def mlflow_server(folder, database, *options, **variables):
    """Yields the address of a server that runs meanwhile."""
    server = Server(folder, database, *options, **variables)
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


class Line:
    """What lies between a client and MLflow: hands requests on, and can be cut."""

    def __init__(self, server):
        self.requests, self.lose_answer_of, self.cut, self.cut_after = 0, None, False, None
        target, owner = urlsplit(server), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def hand_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if owner.cut:
                    self.close_connection = True
                    return
                owner.requests += 1
                number = owner.requests
                kept = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
                try:
                    with closing(http.client.HTTPConnection(target.hostname, target.port, timeout=60)) as behind:
                        behind.request(self.command, self.path, body=body or None, headers=kept)
                        answer = behind.getresponse()
                        content = answer.read()
                except (OSError, http.client.HTTPException):  # nobody is there
                    self.close_connection = True
                    return
                if owner.cut_after and self.path.endswith(owner.cut_after):
                    owner.cut = True
                if number == owner.lose_answer_of:  # the server has done it, nobody hears of it
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
