"""The load test of the labelling server, with little load: nothing acknowledged is lost."""

import importlib.util
import shutil

import pytest

from benchmarks.label import FULL, QUICK, Size, measure


@pytest.mark.slow
def test_a_server_that_is_killed_loses_and_doubles_nothing():
    size = Size(episodes=6, labels=200, annotators=4, seconds=8.0, kills=1, looks=2)
    found = measure(size)
    figures = found["figures"]
    assert found["refused"] == []
    for name in (
        "acknowledged answers lost",
        "answers stored beside those acknowledged",
        "queries handed to too many",
        "requests refused",
    ):
        assert figures[name]["value"] == 0
    assert figures["acknowledged answers lost"]["n"] >= size.annotators
    assert figures["restart after a kill [s]"]["n"] >= 1
    assert figures["wait of an annotator over a kill [s]"]["n"] >= 1
    assert figures["next, 95 % within [ms]"]["n"] >= size.annotators
    if shutil.which("chromium") and importlib.util.find_spec("playwright"):
        for name in (
            "start to first query on screen, 6 episodes [s]",
            "clips begin, from cache, 6 episodes [ms]",
        ):
            assert figures[name]["n"] == size.looks
            assert 0 < figures[name]["low"] <= figures[name]["high"]


def test_what_is_seen_is_measured_several_times_in_full():
    assert (FULL.looks >= 5, QUICK.looks) == (True, 1)
