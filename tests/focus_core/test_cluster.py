import os

import dask
import pytest

from focus_core.cluster import dask_client
from focus_core.errors import SettingsError


def test_no_more_tasks_run_at_once_than_this_process_may_use_cores():
    with dask_client(None) as client:
        assert client is None
        assert dask.config.get("scheduler") == "threads"
        assert dask.config.get("num_workers") == len(os.sched_getaffinity(0))


def test_what_was_set_before_holds_again_afterwards():
    with dask.config.set(scheduler="synchronous"):
        with dask_client(None):
            pass
        assert dask.config.get("scheduler") == "synchronous"


def test_a_scheduler_that_does_not_answer_does_not_stay_the_place_of_later_work():
    with pytest.raises(SettingsError, match="leave the setting out"), dask_client("nowhere://127.0.0.1:1"):
        pass
    assert dask.compute(dask.delayed(sum)([1, 2])) == (3,)
