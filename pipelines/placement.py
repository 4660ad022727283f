"""Where and how tasks run on a cluster: images, resources, GPU, nodes, secrets, volumes, time limits, retries.

Knows Kubernetes' words for it; does not know what a task computes. A local run ignores all of it but the retries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from kfp import dsl, kubernetes
from pydantic import Field

from focus_core import log
from focus_core.config import NotifySettings, Settings, from_mapping
from focus_core.errors import MissingInputError, SettingsError

LABELS = {"app.kubernetes.io/name": "focus-task", "app.kubernetes.io/part-of": "focus"}
"""What the network policies in ``infra/`` know the tasks by."""
_RUN_ID = "metadata.labels['pipeline/runid']"
_QUANTITY = r"^\d+(\.\d+)?(m|[KMGT]i?)?$"
_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"


class Toleration(Settings):
    """A taint that a task's pod may stand on."""

    key: str
    """Key of the taint."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """How ``value`` is compared."""
    value: str | None = None
    """Value of the taint."""
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None
    """Effect that is tolerated; none tolerates all."""


class TaskPlacement(Settings):
    """How one task runs; what is not given is left to the cluster."""

    image: str | None = None
    """Image with its registry and digest, instead of the one in ``components/images.py``."""
    cpu: str | None = Field(default=None, pattern=_QUANTITY)
    """Cores requested and allowed, e.g. ``2`` or ``500m``."""
    memory: str | None = Field(default=None, pattern=_QUANTITY)
    """Memory requested and allowed, e.g. ``8Gi``."""
    gpu: int = Field(default=0, ge=0)
    """Number of GPUs."""
    gpu_type: str = "nvidia.com/gpu"
    """Resource name of a GPU."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that the node must bear."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the node may bear."""
    secrets: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Secrets of this task alone, as in `Placement`."""
    seconds: int | None = Field(default=None, ge=1)
    """Time after which the pod is killed, seconds."""
    retries: int = Field(default=0, ge=0)
    """How often a task that ended badly is started again; a finished step is not repeated."""
    retry_after_s: int = Field(default=30, ge=0)
    """Wait before the first retry, seconds; doubled with each."""


class Placement(Settings):
    """How the tasks of all pipelines run."""

    volume: str | None = Field(default=None, pattern=_NAME)
    """Claim of the volume that holds flights and stores, seen by every task."""
    mount: str = Field(default="/focus", pattern=r"^/[\w./-]*$")
    """Where it is mounted."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables of every task, e.g. ``MLFLOW_TRACKING_URI``."""
    secrets: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Secret, then its key, then the variable that it fills in every task."""
    pull_secrets: tuple[str, ...] = ()
    """Secrets with the passwords of image registries."""
    user: int | None = Field(default=10001, ge=1)
    """Numeric user of every task; ``null`` leaves it to the image."""
    chunks_at_once: int = Field(default=4, ge=1)
    """Chunks of a season that are explained side by side."""
    notify: NotifySettings = NotifySettings()
    """Whom the last task of every run tells, and when."""
    default: TaskPlacement = TaskPlacement()
    """How a task runs that is not named in ``tasks``."""
    tasks: dict[str, TaskPlacement] = Field(default_factory=dict)
    """How single tasks run, by verb; each replaces ``default`` whole."""

    @property
    def told(self) -> dict[str, Any]:
        """What ``notify`` is called with; Kubeflow cannot carry an explicit none."""
        return self.notify.model_dump(mode="json", exclude_defaults=True)

    def place(self, verb: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Put a task of a pipeline in its place, and keep Kubeflow's cache off.

        Kubeflow's cache sees neither that a file changed nor that the champion moved; a step whose result is there
        returns at once by comparing digests.
        """
        own = self.tasks.get(verb, self.default)
        for label, value in {**LABELS, "focus/task": verb}.items():
            kubernetes.add_pod_label(task, label, value)
        task.set_caching_options(False)
        for name, value in sorted({"FOCUS_STATUS": "status", **self.environment}.items()):
            task.set_env_variable(name, value)
        kubernetes.use_field_path_as_env(task, env_name=log.RUN, field_path=_RUN_ID)
        for secret, keys in sorted({**self.secrets, **own.secrets}.items()):
            kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env=keys)
        if self.volume:
            kubernetes.mount_pvc(task, pvc_name=self.volume, mount_path=self.mount)
        if self.pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(self.pull_secrets))
        if self.user is not None:
            kubernetes.set_security_context(task, run_as_user=self.user, run_as_non_root=True)
        _apply(own, task)
        return task


def read_placement(path: str | None) -> Placement:
    """Read a placement from a YAML file; without one nothing is asked of the cluster.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    SettingsError
        If it is not YAML, or a value is none that Kubernetes takes.
    """
    if path is None:
        return Placement()
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such placement file; check --placement") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: not a readable YAML file: {error}") from error
    placement = from_mapping(Placement, found or {})
    unknown = sorted(set(placement.tasks) - VERBS)
    if unknown:
        raise SettingsError(f"{path}: tasks: no task is called {unknown}; known: {sorted(VERBS)}")
    return placement


VERBS = frozenset(
    ("ingest", "tile", "pretrain", "train", "evaluate", "promote", "explain", "aggregate", "report", "notify")
) | {"split", "flights", "gather"}
"""Tasks of the pipelines."""


def _apply(own: TaskPlacement, task: Any) -> None:
    if own.image:
        task.set_container_image(own.image)
    if own.cpu:
        task.set_cpu_request(own.cpu).set_cpu_limit(own.cpu)
    if own.memory:
        task.set_memory_request(own.memory).set_memory_limit(own.memory)
    if own.gpu:
        task.set_accelerator_type(own.gpu_type).set_accelerator_limit(own.gpu)
    for label, value in sorted(own.node_selector.items()):
        kubernetes.add_node_selector(task, label_key=label, label_value=value)
    for toleration in own.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
    if own.seconds:
        kubernetes.set_timeout(task, own.seconds)
    if own.retries:
        task.set_retry(own.retries, backoff_duration=f"{own.retry_after_s}s", backoff_factor=2.0)
