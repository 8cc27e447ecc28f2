"""Tests of figures that are measured while everybody gets the last ones."""

import threading
import time

import pytest

from robopref.labeling.last_known import LastKnown


def wait_for(figures):
    deadline = time.monotonic() + 10
    while (found := figures.look())[1]:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return found[0]


def test_nobody_waits_and_one_thread_measures():
    going, calls = threading.Event(), []

    def measure():
        calls.append(threading.current_thread())
        assert going.wait(10)
        return {"num": len(calls)}

    figures = LastKnown(measure)
    start = time.monotonic()
    assert [figures.look() for _ in range(100)] == [(None, True)] * 100
    assert time.monotonic() - start < 1
    going.set()
    assert wait_for(figures) == {"num": 1}
    assert len(calls) == 1
    assert calls[0] is not threading.current_thread()


def test_it_is_measured_again_after_a_time_or_when_told(monkeypatch):
    numbers = iter(range(10))
    figures = LastKnown(lambda: {"num": next(numbers)})
    assert wait_for(figures) == {"num": 0}
    assert figures.look() == ({"num": 0}, False), "too early"
    figures.outdate()
    assert figures.look() == ({"num": 0}, True), "the last ones meanwhile"
    assert wait_for(figures) == {"num": 1}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    figures.look()
    monkeypatch.undo()
    assert wait_for(figures) == {"num": 2}


def test_what_went_wrong_is_told_to_who_looks_next():
    results = iter([OSError("no disk"), {"num": 1}])

    def measure():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    figures = LastKnown(measure)
    with pytest.raises(OSError, match="no disk"):
        wait_for(figures)
    assert wait_for(figures) == {"num": 1}


def test_the_end_waits_for_what_is_under_way():
    done = []

    def measure():
        time.sleep(0.1)
        done.append(True)
        return {}

    figures = LastKnown(measure)
    figures.close()
    figures.look()
    figures.close()
    assert done
