"""Faults that Kubeflow's SDK compiles and loads without a word are found before anything is submitted."""

import copy

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.check import PipelineSpecError, check, faults_of
from pipelines.compile import compile_one
from pipelines.placement import Placement


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = compile_one("training", tmp_path_factory.mktemp("compiled"), Placement())
    return next(yaml.safe_load_all(path.read_text()))


def tasks(spec):
    return spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def calls_what_is_not_there(spec):
    tasks(spec)["tile"]["componentRef"]["name"] = "comp-other"


def waits_for_what_is_not_there(spec):
    tasks(spec)["tile"]["dependentTasks"] = ["ingest", "other"]


def waits_in_a_circle(spec):
    tasks(spec)["ingest"]["dependentTasks"] = ["promote"]


def has_no_executor(spec):
    spec["components"]["comp-tile"]["executorLabel"] = "exec-other"


def lacks_an_input(spec):
    del tasks(spec)["tile"]["inputs"]["parameters"]["tiles_uri"]


def passes_what_is_not_taken(spec):
    parameters = tasks(spec)["tile"]["inputs"]["parameters"]
    parameters["other"] = parameters["tiles_uri"]


def takes_an_output_that_is_not_there(spec):
    tasks(spec)["tile"]["inputs"]["parameters"]["cube_uri"]["taskOutputParameter"]["outputParameterKey"] = "other"


def takes_an_output_without_waiting(spec):
    tasks(spec)["tile"]["dependentTasks"] = []


def takes_another_type(spec):
    spec["components"]["comp-tile"]["inputDefinitions"]["parameters"]["cube_uri"]["parameterType"] = "NUMBER_DOUBLE"


def names_no_image(spec):
    del spec["deploymentSpec"]["executors"]["exec-tile"]["container"]["image"]


def names_a_moving_image(spec):
    spec["deploymentSpec"]["executors"]["exec-tile"]["container"]["image"] = "focus-python:latest"


def is_of_another_version(spec):
    spec["schemaVersion"] = "9.0"


FAULTS = {
    calls_what_is_not_there: "calls 'comp-other', which is not there",
    waits_for_what_is_not_there: "waits for 'other', which is not there",
    waits_in_a_circle: "wait for each other",
    has_no_executor: "has no executor 'exec-other'",
    lacks_an_input: "tile lacks 'tiles_uri'",
    passes_what_is_not_taken: "is passed 'other', which it does not take",
    takes_an_output_that_is_not_there: "takes 'ingest.other', which is not there",
    takes_an_output_without_waiting: "takes 'ingest.Output' without waiting for it",
    takes_another_type: "is of type NUMBER_DOUBLE, 'ingest.Output' of STRING",
    names_no_image: "names no fixed image",
    names_a_moving_image: "'focus-python:latest' names no fixed image",
    is_of_another_version: "schemaVersion is 9.0",
}


@pytest.mark.parametrize(("spoil", "says"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_each_fault_is_named(good, spoil, says):
    spec = copy.deepcopy(good)
    spoil(spec)
    json_format.ParseDict(copy.deepcopy(spec), pipeline_spec_pb2.PipelineSpec())  # the SDK has nothing to say
    assert any(says in fault for fault in faults_of(spec)), list(faults_of(spec))


def test_a_loop_over_what_it_is_not_passed_is_named(tmp_path):
    spec = next(yaml.safe_load_all(compile_one("season", tmp_path, Placement()).read_text()))
    loop = next(task for task in tasks(spec).values() if "parameterIterator" in task)
    loop["parameterIterator"]["items"]["inputParameter"] = "other"
    assert [fault for fault in faults_of(spec) if "loops over 'other', which it is not passed" in fault]
    loop["parameterIterator"]["itemInput"] = "other"
    assert [fault for fault in faults_of(spec) if "lacks 'pipelinechannel--split-Output-loop-item'" in fault]


def test_a_good_pipeline_has_none_and_a_bad_file_is_refused(good, tmp_path):
    assert list(faults_of(good)) == []
    spoiled = copy.deepcopy(good)
    names_no_image(spoiled)
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-other": {}}}}}}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump_all([spoiled, platform]))
    with pytest.raises(
        PipelineSpecError, match=r"exec-tile: '' names no fixed image.*'exec-other', which is not there"
    ):
        check(tmp_path / "bad.yaml")
