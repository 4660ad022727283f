"""OpenStack Swift with its S3 interface on this machine: a real object store that Python alone installs."""

import datetime as dt
import os
import pwd
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

_KINDS = ("account", "container", "object")
_KEY, _SECRET = "test:focus", "not-a-real-key"  # pragma: allowlist secret
_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(2, 1, 0)
    place = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1.0}
    builder.add_dev({**place, "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""
_SERVER = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
log_address = {folder}/no-log
"""
_STORAGE = """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
# `symlink` before `versioned_writes` makes objects read back empty; neither is needed here.
_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth copy slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_focus = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Swift of this session's own."""
    program = shutil.which("swift-proxy-server")
    if program is None:
        pytest.skip("no Swift on the path: pip install swift, in an environment of its own")
    folder = tmp_path_factory.mktemp("swift")
    (folder / "devices" / "disk").mkdir(parents=True)
    hashed = "[swift-hash]\nswift_hash_path_prefix = focus\nswift_hash_path_suffix = focus\n"
    (folder / "swift.conf").write_text(f"{hashed}[storage-policy:0]\nname = one\ndefault = yes\n")
    ports = dict(zip((*_KINDS, "proxy"), _free_ports(4), strict=True))
    python = Path(program).read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").strip()
    environment = {**os.environ, "SWIFT_DIR": str(folder)}
    environment.pop("PYTHONPATH", None)
    rings = [python, "-c", _RINGS, str(folder), *(str(ports[kind]) for kind in _KINDS)]
    subprocess.run(rings, check=True, env=environment, capture_output=True)
    servers = []
    for kind, port in ports.items():
        shared = _SERVER.format(port=port, user=pwd.getpwuid(os.getuid()).pw_name, folder=folder)
        own = _PROXY.format(secret=_SECRET) if kind == "proxy" else _STORAGE.format(kind=kind)
        (folder / f"{kind}.conf").write_text(shared + own)
        with (folder / f"{kind}.out").open("w") as output:
            command = [str(Path(program).with_name(f"swift-{kind}-server")), str(folder / f"{kind}.conf"), "-v"]
            servers.append(subprocess.Popen(command, stdout=output, stderr=output, env=environment))
    try:
        _wait_for(list(ports.values()))
        yield f"http://127.0.0.1:{ports['proxy']}"
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(30)


@pytest.fixture
def bucket(object_store_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of an empty bucket, and its credentials in the environment."""
    values = {
        "AWS_ENDPOINT_URL": object_store_server,
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    name = f"focus-{uuid.uuid4().hex[:12]}"
    store = S3Store(name)
    # A bucket is made by PUT on its own address, which is that of an object without a name.
    request = urllib.request.Request(obstore.sign(store, "PUT", "", dt.timedelta(minutes=5)), data=b"", method="PUT")
    with urllib.request.urlopen(request, timeout=60):
        pass
    try:
        obstore.put(store, "probe", b"", mode="create")
    except obstore.exceptions.BaseError as error:
        pytest.skip(f"this Swift does not know conditional writes; a newer one is needed ({str(error)[:100]})")
    obstore.delete(store, "probe")
    return f"s3://{name}"


def keys(uri: str) -> set[str]:
    """Names of all objects below a URI."""
    return {item["path"] for batch in obstore.list(S3Store.from_url(uri)) for item in batch}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(ports: list[int]) -> None:
    deadline = time.monotonic() + 120
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
