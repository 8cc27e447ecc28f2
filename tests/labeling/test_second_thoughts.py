"""Tests of what can be taken back or tried again: decisions, blocked queries, old settings."""

import uuid
from typing import Any

import pytest

from robopref.labeling.client import ClientError
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import ASK, GOLD
from robopref.preferences import tables
from tests.labeling.clip_data import record_real
from tests.labeling.desks import QUIET, Server, make_queries
from tests.labeling.running import Running


def entries(running, query_id):
    table = tables.label_queue
    with running.service.store.database.reading() as connection:
        return connection.execute(table.select().where(table.c.query_id == query_id)).all()


def disagree(running):
    """Have two annotators answer a query differently; return its id."""
    with running.client("anna") as anna, running.client("ben") as ben:
        first = anna.next()["query"]
        anna.answer(first, [[0], [1]])
        while (query := ben.next()["query"])["id"] != first["id"]:
            ben.answer(query, [[0], [1]])
        ben.answer(query, [[1], [0]])
    return first["id"]


def undo(client, decision):
    return client.post(f"/api/adjudication/{decision}/undo")


def test_a_decision_is_taken_back_by_who_made_it(tmp_path, data):
    with Running(tmp_path, data, overlap=2) as running:
        name = disagree(running)
        with running.client("judge") as judge, running.client("other") as other:
            decision = judge.adjudicate(name, "overall", [[1], [0]], gold=True)
            assert judge.disagreements() == []
            assert [row.role for row in entries(running, name)] == [GOLD]
            with pytest.raises(ClientError) as error:
                undo(other, decision)
            assert (error.value.status, error.value.code) == (404, "unknown")
            assert undo(judge, decision) == {"undone": True}
            assert len(judge.disagreements()) == 1
            (row,) = entries(running, name)
            assert (row.role, row.expected, row.overlap, row.is_open) == (ASK, None, 2, False)
            assert undo_fails(judge, decision) == 404
            judge.adjudicate(name, "overall", [[0], [1]])
            assert judge.disagreements() == []


def undo_fails(client, decision):
    with pytest.raises(ClientError) as error:
        undo(client, decision)
    return error.value.status


def test_a_known_answer_that_was_given_otherwise_stays(tmp_path, data):
    with Running(tmp_path, data, overlap=2) as running, running.client("judge") as judge:
        name = disagree(running)
        decision = judge.adjudicate(name, "overall", [[1], [0]])
        items = [
            {"episode_id": episode_id, "start": 0, "length": 5}
            for episode_id in running.service.episodes.ids
        ]
        gold = {"answer": "ranked", "order": [[0], [1]]}
        (other,) = judge.add_queries([{"items": items, "gold": gold}])
        undo(judge, decision)
        assert [row.role for row in entries(running, other)] == [GOLD]


def test_a_query_is_asked_again_when_its_video_is_back(tmp_path):
    store = record_real(tmp_path / "data")
    videos = {path: path.read_bytes() for path in store.root.rglob("*.mp4")}
    with Running(tmp_path, store.root) as running, running.client() as client:
        for path in videos:
            path.unlink()
        query = client.next()["query"]
        with pytest.raises(ClientError):
            client.clip(query, 0)
        (blocked,) = client.progress()["blocked"]
        assert "is missing" in blocked["reason"]
        for path, content in videos.items():
            path.write_bytes(content)
        address = f"/api/queries/{query['id']}/unblock"
        assert client.post(address) == {"unblocked": True}
        assert client.post(address) == {"unblocked": False}
        assert client.next()["query"]["id"] == query["id"]
        assert client.clip(query, 0)
        with pytest.raises(ClientError) as error:
            client.post("/api/queries/nothing/unblock")
        assert error.value.status == 404


def test_blocked_queries_are_tried_again_by_the_next_server(tmp_path, data):
    with Running(tmp_path, data) as running:
        name = running.service.store.queries()[0].id
        running.service.queue.block(name, "The network was away.")
    with Running(tmp_path, data) as running:
        assert running.service.queue.blocked() == []


def test_nothing_left_but_what_cannot_be_shown_is_no_end(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        for query in running.service.store.queries():
            running.service.queue.block(query.id, "Its video is missing.")
        found = client.next()
        assert (found["query"], found["reason"]) == (None, "cannot be shown")


def test_a_greater_overlap_holds_for_what_is_open(location):
    first = Server(location, QUIET)
    first.add(make_queries(2))
    first.answer(first.assignment.next("anna"), "anna")
    second = Server(location, LabelConfig(gold_every=0, repeat_every=0, overlap=2))
    second.queue.set_overlap()
    for name in ("ben", "cleo"):
        assigned = second.assignment.next(name)
        assert assigned is not None
        assert assigned.query.id == "q1"
        second.answer(assigned, name)
        assert second.assignment.next(name) is None, "what had its answer stays answered"
    first.store.close()
    second.store.close()


def test_a_clip_to_be_rated_that_changed_is_not_asked_about(tmp_path):
    store = record_real(tmp_path / "data")
    with Running(tmp_path, store.root) as running, running.client() as client:
        item = {"episode_id": store.ids[0], "start": 0, "length": 5}
        (name,) = client.add_queries([{"items": [item], "priority": 1.0}])
        store.delete(store.ids)
        store.merge(record_real(tmp_path / "other", seed=1))
        running.service.refresher._next_s = 0.0
        assert client.next(kinds=["rating"])["query"] is None
        (row,) = entries(running, name)
        assert "its content differs from what it was" in row.blocked


def test_one_id_names_one_query_of_either_kind(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        key = str(uuid.uuid4())
        a, b = (
            {"episode_id": name, "start": 0, "length": 5} for name in running.service.episodes.ids
        )
        client.add_queries([{"id": key, "items": [a]}])
        client.add_queries([{"id": key, "items": [a]}])
        for items in ([b], [a, b]):
            before = running.service.store.queries()
            with pytest.raises(ClientError) as error:
                client.add_queries([{"items": [a, b]}, {"id": key, "items": items}])
            assert (error.value.status, error.value.code) == (409, "id-taken")
            assert running.service.store.queries() == before, "all or none"
        with pytest.raises(ClientError) as many:
            client.add_queries([{"items": [a | {"start": n} for n in range(10)]}])
        assert many.value.status == 422, "there are nine digits"


def test_no_check_is_made_for_who_is_shown_no_pairs(location):
    server = Server(location, LabelConfig(gold_every=0, repeat_every=2, attention_every=0))
    server.add(make_queries(12))
    for _ in range(5):
        assigned = server.assignment.next("anna")
        assert assigned is not None
        server.answer(assigned, "anna")
    before = len(server.store.queries())
    for _ in range(4):
        assert server.assignment.next("anna", kinds=["ranking"]) is None
    assert len(server.store.queries()) == before
    server.store.close()


def test_nested_lines_are_refused_on_import(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        client.next()
        refused: Any = running.raw(
            "POST", "/api/import/jsonl",
            {"X-Robopref": "1", "Content-Type": "application/x-ndjson", "Cookie": client._cookie},
            b"[" * 100_000,
        )  # fmt: skip
        assert (refused[0], refused[2]["error"]["code"]) == (422, "wrong-request")
