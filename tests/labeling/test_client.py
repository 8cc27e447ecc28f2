"""Tests of the client: how it is imported, and what it does beside asking and answering."""

import subprocess
import sys
from typing import Any

import pytest

import robopref.labeling
from robopref.labeling import Client, ClientError
from tests.labeling.clip_data import record_real
from tests.labeling.running import Running
from tests.labeling.test_management import record_policies


def test_the_client_is_there_without_what_the_server_needs():
    script = """
import sys
import robopref.labeling
assert "robopref.labeling.client" not in sys.modules
from robopref.labeling import Client, ClientError
print(Client.__module__, sorted({"torch", "numpy", "fastapi", "sqlalchemy"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "robopref.labeling.client []"


def test_what_it_does_not_offer_is_no_attribute():
    with pytest.raises(AttributeError) as error:
        _ = robopref.labeling.Clients
    assert str(error.value) == "module 'robopref.labeling' has no attribute 'Clients'"


def test_a_decision_is_taken_back_by_who_made_it(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data", overlap=2) as running:
        with running.client("anna") as anna, running.client("ben") as ben:
            query = anna.next()["query"]
            anna.answer(query, [[0], [1]])
            theirs = next(q for q in iter(lambda: ben.next()["query"], None) if same(q, query))
            ben.answer(theirs, [[1], [0]])
        with running.client("judge") as judge, running.client("anna") as anna:
            assert isinstance(judge, Client)
            decision = judge.adjudicate(query["id"], "overall", [[0], [1]])
            assert judge.disagreements() == []
            with pytest.raises(ClientError, match="'anna' has made no decision") as error:
                anna.undo_decision(decision)
            assert error.value.status == 404
            judge.undo_decision(decision)
            assert [found["query"]["id"] for found in judge.disagreements()] == [query["id"]]


def same(one, other):
    return one["id"] == other["id"]


def test_a_query_that_could_not_be_shown_is_asked_again(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        name = client.next()["query"]["id"]
        running.service.queue.block(name, "Its clip is damaged.")
        assert client.unblock(name) is True
        assert client.unblock(name) is False
        with pytest.raises(ClientError) as error:
            client.unblock("no such query")
        assert (error.value.status, str(error.value)) == (
            404, "There is no query 'no such query'.",
        )  # fmt: skip


@pytest.mark.parametrize("path", ["/api/queries", "/api/comparison"])
def test_what_is_added_counts_once_though_its_receipt_is_lost(tmp_path, path):
    record_policies(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        before = len(running.service.store.queries())
        whoever: Any = client
        once = client._once
        lost: list[Any] = []

        def lose(method, place, body, kind):
            answer = once(method, place, body, kind)
            if place == path and not lost and answer[0] == 200:
                lost.append(answer)
                raise ConnectionResetError("The receipt is lost.")
            return answer

        whoever._once = lose
        if path == "/api/queries":
            items = [
                {"episode_id": row.episode_id, "start": 1, "length": 5}
                for row in running.service.episodes.rows[:2]
            ]
            ids = client.add_queries([{"items": items}])
        else:
            ids = client.add_comparisons(2)
        assert lost
        assert len(running.service.store.queries()) == before + len(ids)
        assert {query.id for query in running.service.store.queries()} >= set(ids)
