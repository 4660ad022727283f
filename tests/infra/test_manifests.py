"""Every manifest is valid, agrees with the others and with the code; nothing is asked of a cluster.

Base and overlays are put together by kustomize itself: `kubectl` or `kustomize` from the path, without which these
tests are skipped.
"""

import copy
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections import defaultdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from components.images import PYTHON_IMAGE
from pipelines.placement import LABELS, VERBS, read_placement
from tests.focus_core.tracking.real_server import mlflow_server

INFRA = Path(__file__).parents[2] / "infra"
KUSTOMIZATIONS = ("base", "overlays/development", "overlays/production")
KUBERNETES = "1.32"
DASK = Path(__file__).parent / "daskcluster.json"
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
SECRETS = {
    # What infra/README.md has the engineer make, by key.
    "focus-postgres": {"mlflow-uri", "ledger-uri", "password"},
    "focus-mlflow-server": {"admin-password", "flask-key", "basic_auth.ini"},
    "focus-mlflow-client": {"username", "password"},
    "focus-s3": {"access-key", "secret-key"},
    "focus-notify": {"webhook", "smtp"},
    "focus-kubeflow": {"token"},
    "focus-registry": {".dockerconfigjson"},
}

each = pytest.mark.parametrize("name", KUSTOMIZATIONS)


@cache
def manifests(name):
    """Manifests of a kustomization, put together."""
    tool = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if shutil.which(tool[0]) is None:
        pytest.skip("neither kubectl nor kustomize is on the path")
    done = subprocess.run([*tool, str(INFRA / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


def of_kind(name, *kinds):
    return [item for item in manifests(name) if item["kind"] in kinds]


def named(item):
    return item["metadata"]["name"]


def pods(name):
    """Labels and spec of each pod, by the name of what makes it; the operator labels those of a Dask cluster."""
    found = {}
    for item in of_kind(name, "Deployment", "StatefulSet"):
        template = item["spec"]["template"]
        found[named(item)] = template["metadata"]["labels"], template["spec"]
    for item in of_kind(name, "DaskCluster"):
        for part in ("scheduler", "worker"):
            labels = {"dask.org/cluster-name": named(item), "dask.org/component": part}
            found[f"{named(item)}-{part}"] = labels, item["spec"][part]["spec"]
    return found


def references(spec, kind, name_key):
    """Names of secrets or config maps that a pod takes from, with the keys."""
    found = defaultdict(set)
    for container in spec["containers"]:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {}).get(f"{kind}KeyRef")
            if source:
                found[source["name"]].add(source["key"])
    for volume in spec.get("volumes", ()):
        if kind in volume:
            found[volume[kind][name_key]] |= {item["key"] for item in volume[kind].get("items", ())}
    return found


def of_dask_as_kubernetes(item):
    """What a DaskCluster holds of Kubernetes' own objects: pods for its parts and the scheduler's service."""
    meta = {"name": "part"}
    for part in ("scheduler", "worker"):
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": item["spec"][part]["spec"]}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": item["spec"]["scheduler"]["service"]}


def validate(item):
    """By Kubernetes' own schemas; a DaskCluster by the operator's, and its pods and service by the newer ones too."""
    if item["kind"] != "DaskCluster":
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
        return
    assert item["apiVersion"] == "kubernetes.dask.org/v1"
    jsonschema.validate(item["spec"], json.loads(DASK.read_text(encoding="utf-8")))
    for part in of_dask_as_kubernetes(item):
        kubernetes_validate.validate(part, KUBERNETES, strict=True)


@each
def test_each_manifest_is_valid(name):
    for item in manifests(name):
        validate(item)


@pytest.mark.parametrize(
    ("kind", "place", "field"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0), "readinesProbe"),
        ("DaskCluster", ("spec", "scheduler"), "replicas"),
        # Newer than the Kubernetes that the operator's definition was made from: the server would drop it.
        ("DaskCluster", ("spec", "worker", "spec", "containers", 0), "resizePolicy"),
    ],
)
def test_a_wrong_manifest_would_be_found(kind, place, field):
    spoiled = copy.deepcopy(of_kind("base", kind)[0])
    part = spoiled
    for step in place:
        part = part[step]
    part[field] = []
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        validate(spoiled)


@each
def test_all_lies_in_one_namespace_under_names_of_its_own(name):
    items = manifests(name)
    assert {item["metadata"]["namespace"] for item in items} == {"focus"}
    assert {item["metadata"]["labels"]["app.kubernetes.io/part-of"] for item in items} == {"focus"}
    keys = [(item["kind"], named(item)) for item in items]
    assert len(keys) == len(set(keys))


@each
def test_each_pod_is_restricted_and_bounded(name):
    for pod, (_, spec) in pods(name).items():
        assert spec["automountServiceAccountToken"] is False, pod
        assert spec["securityContext"]["runAsNonRoot"] is True, pod
        assert spec["securityContext"]["runAsUser"] > 0, pod
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        for container in spec["containers"]:
            assert container["securityContext"] == RESTRICTED, pod
            assert {"cpu", "memory"} == set(container["resources"]["requests"]) == set(container["resources"]["limits"])
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounted["tmp"] == "/tmp", pod
            assert set(mounted) <= {volume["name"] for volume in spec["volumes"]} | {"data"}, pod


@each
def test_what_stays_up_is_probed(name):
    for item in of_kind(name, "Deployment", "StatefulSet"):
        (container,) = item["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe].get("httpGet", {"port": next(iter(ports))})["port"] in ports


@each
def test_accounts_claims_config_maps_and_secrets_that_are_used_exist(name):
    accounts = {named(item) for item in of_kind(name, "ServiceAccount")}
    claims = {named(item) for item in of_kind(name, "PersistentVolumeClaim")}
    maps = {named(item): set(item["data"]) for item in of_kind(name, "ConfigMap")}
    used_accounts = set()
    for pod, (_, spec) in pods(name).items():
        used_accounts.add(spec["serviceAccountName"])
        for volume in spec.get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims, pod
        for config, keys in references(spec, "configMap", "name").items():
            assert keys <= maps[config], pod
        for secret, keys in references(spec, "secret", "secretName").items():
            assert keys <= SECRETS[secret], pod
    assert used_accounts == accounts
    assert of_kind(name, "Secret") == []  # secrets are references


@each
def test_services_and_policies_select_pods_that_exist_on_ports_that_they_open(name):
    labels = {pod: found for pod, (found, _) in pods(name).items()}
    tasks = {f"task {verb}": {**LABELS, "focus/task": verb} for verb in VERBS}
    ports = {pod: {p["containerPort"] for c in spec["containers"] for p in c.get("ports", ())} for pod, (_, spec) in pods(name).items()}  # fmt: skip  # noqa: E501

    def selected(selector, among):
        return [pod for pod, own in among.items() if selector.items() <= own.items()]

    services = [(item["spec"]["selector"], item["spec"]["ports"]) for item in of_kind(name, "Service")]
    for item in of_kind(name, "DaskCluster"):
        service = item["spec"]["scheduler"]["service"]
        services.append((service["selector"], service["ports"]))
    for selector, wanted in services:
        (pod,) = selected(selector, labels)
        spec = pods(name)[pod][1]
        names = {port["name"] for container in spec["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in wanted} <= names
    for item in of_kind(name, "NetworkPolicy"):
        chosen = selected(item["spec"]["podSelector"]["matchLabels"], labels | tasks)
        assert chosen, named(item)
        for rule in item["spec"].get("ingress", ()):
            opened = {port["port"] for port in rule.get("ports", ())}
            assert opened <= set().union(*(ports[pod] for pod in chosen)), named(item)
            for peer in rule["from"]:
                if "podSelector" in peer:
                    assert selected(peer["podSelector"]["matchLabels"], labels | tasks), named(item)
        for rule in item["spec"].get("egress", ()):
            for peer in rule.get("to", ()):
                if "podSelector" in peer:
                    reached = selected(peer["podSelector"]["matchLabels"], labels | tasks)
                    assert reached, named(item)
                    asked = {port["port"] for port in rule.get("ports", ())}
                    assert asked <= set().union(*(ports.get(pod, set()) for pod in reached)), named(item)


@each
def test_prometheus_is_told_where_the_watcher_shows_its_metrics_and_is_let_in(name):
    (watcher,) = [item for item in of_kind(name, "Deployment") if named(item) == "focus-watch"]
    told = watcher["spec"]["template"]["metadata"]["annotations"]
    (container,) = pods(name)["focus-watch"][1]["containers"]
    (port,) = container["ports"]
    assert told["prometheus.io/scrape"] == "true"
    assert told["prometheus.io/port"] == str(port["containerPort"])
    assert f"--metrics-port={port['containerPort']}" in container["args"]
    (policy,) = [item for item in of_kind(name, "NetworkPolicy") if named(item) == "focus-watch"]
    (rule,) = policy["spec"]["ingress"]
    assert [item["port"] for item in rule["ports"]] == [port["containerPort"]]


@each
def test_no_pod_is_left_without_a_policy_in_both_directions(name):
    chosen = defaultdict(set)
    for item in of_kind(name, "NetworkPolicy"):
        for pod, (labels, _) in pods(name).items():
            if item["spec"]["podSelector"]["matchLabels"].items() <= labels.items():
                chosen[pod] |= set(item["spec"]["policyTypes"])
    assert dict(chosen) == {pod: {"Ingress", "Egress"} for pod in pods(name)}


@each
def test_images_are_those_that_are_built_here_at_the_projects_version(name):
    images = {container["image"] for _, spec in pods(name).values() for container in spec["containers"]}
    short = {image.rsplit("/", 1)[-1] for image in images}
    built = {f"focus-{path.stem}" for path in (INFRA / "images").glob("*.Containerfile")}
    if name == "base":
        assert short == built
        return
    own = {image for image in short if image.startswith("focus-")}
    assert own == {f"{image}:{version('focus-core')}" for image in built}
    assert PYTHON_IMAGE in own
    assert all(":" in image and not image.endswith(":latest") for image in short)


@each
def test_the_placement_names_the_volume_secrets_and_service_of_the_manifests(name):
    (config,) = [item for item in of_kind(name, "ConfigMap") if named(item).startswith("focus-placement")]
    path = INFRA / name / "placement.yaml"
    assert config["data"]["placement.yaml"] == path.read_text(encoding="utf-8")
    placement = read_placement(str(path))
    assert placement.volume in {named(item) for item in of_kind(name, "PersistentVolumeClaim")}
    secrets = placement.secrets | placement.tasks["notify"].secrets
    assert {"FOCUS_WEBHOOK", "FOCUS_SMTP"} <= {variable for keys in secrets.values() for variable in keys.values()}
    for secret, keys in secrets.items():
        assert set(keys) <= SECRETS[secret]
    assert set(placement.pull_secrets) <= set(SECRETS)
    (service,) = [item for item in of_kind(name, "Service") if named(item) == "mlflow"]
    address = f"http://mlflow:{service['spec']['ports'][0]['port']}"
    assert placement.environment["MLFLOW_TRACKING_URI"] == address
    (watch,) = pods(name)["focus-watch"][1]["containers"]
    told = {item["name"]: item.get("value") for item in watch["env"]}
    assert told["MLFLOW_TRACKING_URI"] == address
    assert {mount["mountPath"] for mount in watch["volumeMounts"]} >= {placement.mount}


def test_the_watchers_command_and_variables_are_those_that_the_code_reads():
    from typer.main import get_command

    from pipelines.__main__ import app

    (watch,) = pods("base")["focus-watch"][1]["containers"]
    parameters = get_command(app).commands["watch"].params
    options = {option for parameter in parameters for option in parameter.opts}
    assert {argument.partition("=")[0] for argument in watch["args"]} <= options
    files = [*(INFRA.parent / "pipelines").glob("*.py"), INFRA.parent / "focus_core" / "log.py"]
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    assert all(f'"{item["name"]}"' in sources for item in watch["env"])


def test_the_server_is_started_with_options_that_it_has():
    done = subprocess.run(
        [shutil.which("mlflow", path=str(Path(shutil.sys.executable).parent)), "server", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (server,) = pods("base")["mlflow"][1]["containers"]
    known = set(re.findall(r"--[a-z-]+", done.stdout))
    assert {argument.partition("=")[0] for argument in server["args"]} <= known


def test_images_of_a_private_registry_can_be_pulled_in_production():
    accounts = of_kind("overlays/production", "ServiceAccount")
    assert accounts
    pulled_with = [tuple(secret["name"] for secret in account["imagePullSecrets"]) for account in accounts]
    assert set(pulled_with) == {read_placement(str(INFRA / "overlays" / "production" / "placement.yaml")).pull_secrets}


@pytest.mark.services
@pytest.mark.timeout(600)
def test_mlflow_answers_under_the_names_by_which_it_is_reached_and_under_no_other(tmp_path, migrated_database):
    """Inside the cluster it is `mlflow`; `kubectl port-forward` comes as localhost."""
    (config,) = [item for item in of_kind("base", "ConfigMap") if named(item).startswith("focus-mlflow")]
    (server,) = pods("base")["mlflow"][1]["containers"]
    assert "--allowed-hosts=$(HOSTS)" in server["args"]
    database = shutil.copy(migrated_database, tmp_path / "mlflow.db")
    hosts = f"--allowed-hosts={config['data']['hosts']}"
    with mlflow_server(tmp_path, f"sqlite:///{database}", hosts) as url:

        def asked_as(host):
            address = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
            try:
                with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host})) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        inside = ("mlflow:5000", "mlflow.focus:5000", "mlflow.focus.svc.cluster.local:5000")
        assert [asked_as(host) for host in (*inside, "localhost:5000", "127.0.0.1:5000")] == [200] * 5
        assert asked_as("evil.example.com") == 403


@pytest.mark.parametrize("path", sorted((INFRA / "images").glob("*.Containerfile")), ids=lambda path: path.stem)
def test_an_image_is_pinned_without_root_and_installs_only_what_is_hashed(path):
    text = path.read_text(encoding="utf-8")
    assert f"focus-{path.stem}:{version('focus-core')}" in text
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) == {"${BASE}"}
    assert re.search(r"^ARG BASE=python:3\.11-slim$", text, flags=re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*$", text, flags=re.MULTILINE)
    installs = re.findall(r"pip install ([^\n\\]*)", text)
    assert installs
    for line in installs:
        hashed, itself, cpu_build = "--require-hashes" in line, line.strip() == "--no-deps --no-build-isolation .", "--index-url" in line  # fmt: skip  # noqa: E501
        assert hashed or itself or cpu_build, line
    copied = set(re.findall(r"^COPY (?!--from)(\S+)/? ", text, flags=re.MULTILINE))
    ignored = (INFRA.parent / ".dockerignore").read_text(encoding="utf-8").split()
    assert all(any(name.startswith(kept[1:]) for kept in ignored if kept.startswith("!")) for name in copied)


@pytest.mark.parametrize("path", sorted((INFRA / "images").glob("*.Containerfile")), ids=lambda path: path.stem)
def test_an_image_tells_nobody_of_its_use(path):
    text = path.read_text(encoding="utf-8")
    assert {"DO_NOT_TRACK=true", "MLFLOW_DISABLE_TELEMETRY=true"} <= set(text.split())


def test_the_readme_makes_every_secret_key():
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    for secret, keys in SECRETS.items():
        assert secret in text
        assert [key for key in keys - {".dockerconfigjson"} if key not in text] == []
