"""A stand-in for Kubeflow's API server: real HTTP, the few endpoints that the client calls, and the server's own checks
of a pipeline as far as the SDK's protocol buffers hold them. It runs nothing."""

import datetime as dt
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2


class StandIn:
    """Counts what is asked of it; a run ends as ``ends`` says after it was looked at three times."""

    def __init__(self, ends="SUCCEEDED", task_error=None, lock_out=False):
        self.runs, self.looks, self.ends, self.task_error, self.lock_out = {}, {}, ends, task_error, lock_out
        self.deleted = []
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(*owner.get(urllib.parse.urlsplit(self.path)))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(*owner.post(urllib.parse.urlsplit(self.path).path, body))

            def do_DELETE(self):
                self.answer(*owner.delete(urllib.parse.urlsplit(self.path).path))

            def answer(self, status, content):
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def get(self, place):
        if self.lock_out:
            return 401, {"error": "Unauthenticated"}
        name = place.path.removeprefix("/apis/v2beta1/")
        if name == "healthz":
            return 200, {"multi_user": False}
        if name == "experiments":
            return 200, {"experiments": [{"experiment_id": "e1", "display_name": "focus"}]}
        if name == "runs":
            query = json.loads(urllib.parse.parse_qs(place.query)["filter"][0])
            (predicate,) = query["predicates"]
            with self._lock:
                found = [run for run in self.runs.values() if run["display_name"] == predicate["stringValue"]]
            return 200, {"runs": found, "total_size": len(found)}
        return 200, self._looked_at(name.removeprefix("runs/"))

    def post(self, path, body):
        assert path == "/apis/v2beta1/runs", path
        spec = body["pipeline_spec"]
        parsed = json_format.ParseDict(spec.get("pipeline_spec", spec), pipeline_spec_pb2.PipelineSpec())
        unknown = set(body["runtime_config"]["parameters"]) - set(parsed.root.input_definitions.parameters)
        if unknown:
            return 400, {"error": f"unknown parameters {sorted(unknown)}"}
        with self._lock:
            run_id = f"run-{len(self.looks) + 1}"
            self.runs[run_id] = {"run_id": run_id, "display_name": body["display_name"], "state": "PENDING"}
            # Kubeflow keeps whole seconds.
            self.runs[run_id]["created_at"] = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
            self.runs[run_id]["runtime_config"] = body["runtime_config"]
            self.looks[run_id] = 0
            return 200, self.runs[run_id]

    def delete(self, path):
        with self._lock:
            self.deleted.append(path.removeprefix("/apis/v2beta1/runs/"))
            del self.runs[self.deleted[-1]]
        return 200, {}

    def _looked_at(self, run_id):
        with self._lock:
            self.looks[run_id] += 1
            run = self.runs[run_id]
            run["state"] = ("PENDING", "RUNNING", self.ends)[min(self.looks[run_id], 3) - 1]
            task = {"display_name": "tile", "state": run["state"]}
            if self.task_error and run["state"] == "FAILED":
                task["error"] = {"code": 13, "message": self.task_error}
            return {**run, "run_details": {"task_details": [task]}}
