import threading

from focus_core.repeat import repeated


def test_it_is_done_again_and_again_while_the_block_runs_and_not_after():
    often, calls = threading.Event(), []

    def count():
        calls.append(1)
        if len(calls) == 3:
            often.set()

    with repeated(count, every_s=0.01):
        assert often.wait(10.0)
    done = len(calls)
    threading.Event().wait(0.1)
    assert len(calls) == done


def test_a_block_shorter_than_the_interval_does_nothing():
    calls = []
    with repeated(lambda: calls.append(1), every_s=60.0):
        pass
    assert calls == []
