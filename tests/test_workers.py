"""Tests for workers.py."""

import os
import time

import pytest
import torch

from robopref.errors import ConfigError, RoboprefError, check_at_least
from robopref.progress import is_launched
from robopref.workers import Workers


def double(number):
    return 2 * number


def who(number):
    return number, os.getpid(), torch.get_num_threads()


def launched(_):
    return is_launched()


def wait_for(path):
    while path is not None and not path.exists():
        time.sleep(0.01)
    return path


def refuse(number):
    if number < 0:
        raise ConfigError("`number` must not be negative.")
    check_at_least("number", number, 1)
    raise ValueError("of the test, not of robopref")


@pytest.fixture(scope="module")
def processes():
    with Workers(2) as workers:
        yield workers


def test_results_come_in_the_order_of_the_items_and_once(processes):
    for workers in (Workers(0), processes):
        assert list(workers.map(double, range(20))) == [2 * n for n in range(20)]
        assert list(workers.map(double, [])) == []


def test_other_processes_work_with_one_thread(processes):
    found = list(processes.map(who, range(8)))
    assert {process for _, process, _ in found} - {os.getpid()}
    assert {threads for *_, threads in found} == {1}


def test_a_worker_of_a_process_that_was_launched_was_not(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    assert is_launched()
    with Workers(1) as workers:
        assert list(workers.map(launched, [None])) == [False]


def test_what_is_there_need_not_wait_for_its_turn(processes, tmp_path):
    path = tmp_path / "may-end"
    results = processes.map(wait_for, [path, None, None], in_order=False)
    assert next(results) is None
    path.touch()
    assert set(results) == {None, path}


def test_this_process_keeps_its_threads():
    torch.set_num_threads(2)
    try:
        with Workers(0) as workers:
            assert list(workers.map(who, [7])) == [(7, os.getpid(), 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_no_more_is_begun_than_asked_for(processes):
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = processes.map(double, items())
    assert next(results) == 0
    assert len(taken) == 4
    results.close()


def test_only_what_robopref_refuses_is_worded_for_the_user(processes):
    with pytest.raises(ConfigError) as error:
        list(processes.map(refuse, [-1]))
    assert str(error.value) == "`number` must not be negative."
    with pytest.raises(RoboprefError) as refused:
        list(processes.map(refuse, [0]))
    assert str(refused.value) == "`number` must be at least 1, got 0."
    with pytest.raises(ValueError, match="of the test"):
        list(processes.map(refuse, [1]))


def test_workers_work_in_their_block_only():
    with pytest.raises(RuntimeError) as error:
        list(Workers(1).map(double, [1]))
    assert str(error.value) == "The workers are not running. Use 'with workers:'."
    assert list(Workers(0).map(double, [1])) == [2]


def test_their_number_is_not_negative():
    with pytest.raises(ValueError) as error:
        Workers(-1)
    assert str(error.value) == "`num_workers` must be at least 0, got -1."
