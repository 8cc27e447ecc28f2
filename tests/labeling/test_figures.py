"""Tests of figures that child processes measure where there are many answers."""

import dataclasses
import shutil
import typing

import pytest

from robopref.errors import DataError
from robopref.labeling import figures as module
from robopref.labeling.figures import Figures, Job
from tests.labeling.clip_data import record_policies_of_an_arm
from tests.labeling.running import Running


def measured(running):
    """Return all figures, but for the time."""
    figures = Figures(running.service)
    try:
        found = [figures._measure(job) for job in typing.get_args(Job)]
        return [{**each, "computed_s": None} for each in found], figures._children.pids
    finally:
        figures.close()


@pytest.mark.slow
def test_child_processes_find_what_the_server_finds(tmp_path, monkeypatch):
    record_policies_of_an_arm(tmp_path / "data")
    running = Running(tmp_path, tmp_path / "data", overlap=2)
    running.config = dataclasses.replace(running.config, first_queries=0)
    with running, running.client("anna") as anna, running.client("ben") as ben:
        anna.add_comparisons(2)
        for client in (anna, ben):
            client.answer(client.next()["query"], [[0], [1]])
            client.answer(client.next()["query"], [[0, 1]])
        (progress, comparison, named), children = measured(running)
        assert children == []
        assert progress["criteria"][0]["answers"] == 4
        assert {row["name"] for row in named["criteria"][0]["policies"]} == {"careful", "hasty"}
        monkeypatch.setattr(module, "MANY", 0)
        assert measured(running)[0] == [progress, comparison, named]


@pytest.mark.slow
def test_what_a_child_process_cannot_read_is_told_and_tried_again(tmp_path, data, monkeypatch):
    monkeypatch.setattr(module, "MANY", 0)
    with Running(tmp_path, data) as running:
        figures = Figures(running.service)
        info, away = data / "meta" / "info.json", tmp_path / "away.json"
        shutil.move(info, away)
        with pytest.raises(DataError, match=r"info\.json"):
            figures.comparison(reveal=False)
        shutil.move(away, info)
        assert figures.comparison(reveal=False) == {"criteria": [], "waiting": 0}
        assert figures._children.pids
        figures.close()
        assert figures._children.pids == []
