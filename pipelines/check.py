"""Checks a compiled pipeline for what Kubeflow's SDK lets pass: references, cycles, types of parameters, images.

Reads the YAML alone; a server that finds such a fault does so when the run is under way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from focus_core.errors import FocusError

_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:_-]*?(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")


class PipelineSpecError(FocusError, ValueError):
    """A compiled pipeline contradicts itself."""


def check(path: Path) -> None:
    """Check a compiled pipeline.

    Raises
    ------
    PipelineSpecError
        Naming every fault.
    """
    spec, *platforms = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    faults = [*faults_of(spec), *(fault for platform in platforms for fault in _of_platform(platform, spec))]
    if faults:
        raise PipelineSpecError(f"'{path}' contradicts itself: {'; '.join(faults)}; this is a defect of the pipeline")


def faults_of(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each fault of a pipeline."""
    components, executors = spec.get("components", {}), spec.get("deploymentSpec", {}).get("executors", {})
    if not str(spec.get("schemaVersion", "")).startswith("2."):
        yield f"schemaVersion is {spec.get('schemaVersion')}"
    for name, component in {"root": spec["root"], **components}.items():
        if "dag" in component:
            yield from _of_dag(name, component, components)
        elif component.get("executorLabel") not in executors:
            yield f"{name} has no executor '{component.get('executorLabel')}'"
    for label, executor in executors.items():
        image = executor.get("container", {}).get("image", "")
        if not _IMAGE.fullmatch(image) or image.endswith(":latest") or not re.search(r"[:@]", image.rsplit("/", 1)[-1]):
            yield f"{label}: '{image}' names no fixed image; give a tag or a digest"


def _of_dag(name: str, component: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[str]:
    tasks = component["dag"]["tasks"]
    given = component.get("inputDefinitions", {}).get("parameters", {})
    waits: dict[str, set[str]] = {}
    for task_name, task in tasks.items():
        where = f"{name}.{task_name}"
        waits[task_name] = set(task.get("dependentTasks", ()))
        called = components.get(task["componentRef"]["name"])
        if called is None:
            yield f"{where} calls '{task['componentRef']['name']}', which is not there"
            continue
        yield from (f"{where} waits for '{other}', which is not there" for other in waits[task_name] - set(tasks))
        wanted = called.get("inputDefinitions", {}).get("parameters", {})
        passed = task.get("inputs", {}).get("parameters", {})
        yield from (f"{where} is passed '{key}', which it does not take" for key in passed.keys() - wanted.keys())
        needed = {key for key, item in wanted.items() if not item.get("isOptional")}
        loop = task.get("parameterIterator", {})
        yield from (f"{where} lacks '{key}'" for key in sorted(needed - passed.keys() - {loop.get("itemInput")}))
        items = loop.get("items", {}).get("inputParameter")
        if items is not None and passed.get(items) is None:
            yield f"{where} loops over '{items}', which it is not passed"
        for key in sorted(passed.keys() & wanted.keys()):
            yield from _of_value(f"{where}.{key}", passed[key], wanted[key], given, tasks, components, waits[task_name])
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        yield f"{name}: its tasks wait for each other: {' > '.join(error.args[1])}"


def _of_value(
    where: str,
    value: Mapping[str, Any],
    wanted: Mapping[str, Any],
    given: Mapping[str, Any],
    tasks: Mapping[str, Any],
    components: Mapping[str, Any],
    waits: set[str],
) -> Iterator[str]:
    """Yield what is wrong with one value that a task is passed."""
    found: Mapping[str, Any] | None
    if "componentInputParameter" in value:
        found = given.get(value["componentInputParameter"])
        source = value["componentInputParameter"]
    elif "taskOutputParameter" in value:
        producer, key = value["taskOutputParameter"]["producerTask"], value["taskOutputParameter"]["outputParameterKey"]
        source = f"{producer}.{key}"
        component = components.get(tasks.get(producer, {}).get("componentRef", {}).get("name"), {})
        found = component.get("outputDefinitions", {}).get("parameters", {}).get(key)
        if producer not in waits:
            yield f"{where} takes '{source}' without waiting for it"
    else:
        return
    if found is None:
        yield f"{where} takes '{source}', which is not there"
    elif found.get("parameterType") != wanted.get("parameterType"):
        yield f"{where} is of type {wanted.get('parameterType')}, '{source}' of {found.get('parameterType')}"


def _of_platform(platform: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    executors = spec["deploymentSpec"]["executors"]
    for name, content in platform.get("platforms", {}).items():
        for label in content.get("deploymentSpec", {}).get("executors", {}):
            if label not in executors:
                yield f"the settings for {name} are of '{label}', which is not there"
