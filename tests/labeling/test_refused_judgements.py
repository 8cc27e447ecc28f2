"""Tests of answers, ratings and decisions that do not go with what was asked, and of decisions."""

import uuid

import pytest

from robopref.errors import DataError
from robopref.labeling.client import ClientError
from robopref.preferences import Preference, Ranking, tables
from tests.labeling.clip_data import record_real
from tests.labeling.running import Running


@pytest.fixture
def running(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data", overlap=2, repeat_every=5) as running:
        yield running


def entry(running, name):
    table = tables.label_queue
    with running.service.store.database.reading() as connection:
        statement = table.select().where(table.c.query_id == name)
        return dict(connection.execute(statement).mappings().one())


def segments(running, start=3, length=5):
    return [
        {"episode_id": name, "start": start, "length": length}
        for name in running.service.episodes.ids
    ]


def refused(status, make, words=""):
    with pytest.raises(ClientError) as error:
        make()
    assert error.value.status == status
    assert words in str(error.value)


def test_a_verdict_of_another_criterion_and_a_mark_after_the_end_are_refused(running):
    with running.client() as client:
        client.add_queries([{"items": segments(running)[:1], "priority": 9}])
        query = client.next(kinds=["rating"])["query"]
        words = "`rating` must be one of ['bad', 'cannot tell', 'good', 'skipped'], got 'success'."
        refused(422, lambda: client.rate(query, "success"), words)
        refused(422, lambda: client.rate(query, "bad", 5), "must be between 0 and 4, got 5")
        client.rate(query, "bad", 4)


def test_a_decision_that_no_clip_can_have_is_refused(running):
    with running.client() as client, running.client("ben") as ben:
        client.add_queries([{"items": segments(running)[:1], "priority": 9}])
        query = client.next(kinds=["rating"])["query"]
        client.rate(query, "good")
        ben.rate(ben.next(kinds=["rating"])["query"], "bad", 4)
        name, pair = query["id"], client.next(kinds=["pair"])["query"]["id"]
        decide = client.adjudicate_rating
        words = "`rating` must be one of ['bad', 'cannot tell', 'good'], got 'success'."
        refused(422, lambda: decide(name, "overall", "success"), words)
        refused(422, lambda: decide(name, "overall", "bad", 5), "must be between 0 and 4, got 5")
        refused(422, lambda: decide(pair, "overall", "bad"), "use /api/adjudication.")
        words = "is rated, not ordered: use /api/adjudication/ratings."
        refused(422, lambda: client.adjudicate(name, "overall", [[0], [1]]), words)
        refused(404, lambda: decide("absent", "overall", "bad"))
        decide(name, "overall", "bad", 4)
        assert client.disagreements(ratings=True) == []


def test_what_is_said_of_candidates_is_refused_of_clips_and_in_another_form(running):
    with running.client() as client:
        pair = client.next(kinds=["pair"])["query"]
        for said in ({"all_bad": True}, {"proposed": [[0.0]]}):
            refused(422, lambda said=said: client.answer(pair, [[0], [1]], **said), "candidates")
        ids = running.service.episodes.ids
        items = [{"episode_id": ids[0], "step": 2, "action": [[x] * 6]} for x in (0.1, 0.2)]
        client.add_queries([{"items": items, "priority": 9}])
        query = client.next(kinds=["candidates"])["query"]
        shapes: list[list[list[float]]] = [[[0.0] * 5], [[0.0] * 6] * 2, [], [[]]]
        for proposed in shapes:
            refused(422, lambda p=proposed: client.answer(query, [[0], [1]], proposed=p), "(1, 6)")
        client.answer(query, [[0], [1]], proposed=[[0.0] * 6], all_bad=True)


def test_nobody_else_answers_the_query_that_checks_an_annotator(running):
    with running.client() as anna, running.client("ben") as ben:
        for _ in range(4):
            anna.answer(anna.next()["query"], [[0], [1]])
        check = anna.next()["query"]
        assert entry(running, check["id"])["annotator"] == "anna"
        refused(409, lambda: ben.answer(check, [[0], [1]]), "checks another annotator")
        anna.answer(check, [[0], [1]])


def disagree(running):
    with running.client() as anna, running.client("ben") as ben:
        query = anna.next()["query"]
        anna.answer(query, [[0], [1]])
        theirs = ben.next()["query"]
        assert theirs["id"] == query["id"]
        ben.answer(theirs, [[1], [0]])
    return query["id"]


def test_a_decision_and_what_is_known_by_it_are_kept_together_or_not_at_all(running, monkeypatch):
    name = disagree(running)
    with running.client("judge") as judge:
        judge._patience_s = 0.0
        body = {
            "id": str(uuid.uuid4()), "query": name, "criterion": "overall", "answer": "ranked",
            "order": [[0], [1]], "gold": True,
        }  # fmt: skip

        def fail(*_):
            raise DataError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(running.service.queue, "set_gold", fail)
            refused(503, lambda: judge.post("/api/adjudication", body))
        assert len(judge.disagreements()) == 1
        assert judge.post("/api/adjudication", body) == {"stored": True, "new": True}
        assert entry(running, name)["role"] == "gold"
        assert judge.post("/api/adjudication", body) == {"stored": True, "new": False}


def test_taking_a_decision_back_undoes_what_it_did_and_no_more(running):
    with running.client("judge") as judge:
        known = {"answer": "ranked", "order": [[0], [1]]}
        (name,) = judge.add_queries([{"items": segments(running), "gold": {"order": [[0], [1]]}}])
        for annotator, first in (("anna", 0), ("ben", 1)):
            said = Preference(
                str(uuid.uuid4()), running.service.query(name), Ranking.prefer(first), annotator
            )
            running.service.store.answer(said)
        judge.undo_decision(judge.adjudicate(name, "overall", [[0], [1]]))
        assert (entry(running, name)["role"], entry(running, name)["expected"]) == ("gold", known)
        judge.undo_decision(judge.adjudicate(name, "overall", [[1], [0]], gold=True))
        assert (entry(running, name)["role"], entry(running, name)["expected"]) == ("gold", known)
        other = disagree(running)
        decision = judge.adjudicate(other, "overall", [[1], [0]], gold=True)
        assert entry(running, other)["role"] == "gold"
        judge.undo_decision(decision)
        assert (entry(running, other)["role"], entry(running, other)["expected"]) == ("ask", None)
