"""No locked package has a known vulnerability, as far as the database of https://osv.dev can be asked."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
OSV = "https://api.osv.dev/v1/query"


def findings(lock, address, cache):
    """What the database says of the packages of a lock: identifiers by package and version."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", address, "--cache-dir", str(cache)]
    command += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr[-3000:]
    packages = json.loads(done.stdout)["dependencies"]
    assert len(packages) > 3
    return {
        f"{item['name']}=={item['version']}": [one["id"] for one in item["vulns"]] for item in packages if item["vulns"]
    }


@pytest.fixture
def database():
    """Address of the database, where it answers."""
    asked = json.dumps({"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}).encode()
    try:
        with urllib.request.urlopen(OSV, data=asked, timeout=20) as answer:
            known = json.load(answer)["vulns"]
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"the vulnerability database at {OSV} cannot be reached: {error}")
    assert known  # it tells of a release that is known to have some
    return OSV


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("lock", ["base", "torch", "swift"])
def test_no_locked_package_has_a_known_vulnerability(lock, database, tmp_path):
    assert findings(REQUIREMENTS / f"{lock}.txt", database, tmp_path) == {}


class OneFinding(BaseHTTPRequestHandler):
    """Answers as the database would if it knew of a flaw in click alone."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        flaw = {
            "id": "PYSEC-0000-1",
            "summary": "planted",
            "affected": [{"package": {"name": package, "ecosystem": "PyPI"}}],
        }
        text = json.dumps({"vulns": [flaw]} if package == "click" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def test_the_audit_tells_of_a_vulnerability(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), OneFinding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = findings(REQUIREMENTS / "base.txt", f"http://127.0.0.1:{server.server_port}", tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    ((package, flaws),) = found.items()
    assert package.startswith("click==")
    assert flaws == ["PYSEC-0000-1"]
