"""One pass over all routes of the server, on SQLite and on PostgreSQL."""

import re
import uuid

import pyarrow.parquet as pq
import pytest

from robopref.labeling.client import Client, ClientError
from tests.labeling.clip_data import record_policies_of_an_arm
from tests.labeling.running import Running


@pytest.fixture
def called(monkeypatch):
    """Note which requests clients make."""
    found = set()
    once = Client._once

    def note(self, method, path, *rest):
        found.add((method.lower(), path.partition("?")[0]))
        return once(self, method, path, *rest)

    monkeypatch.setattr(Client, "_once", note)
    return found


def until(client, query_id):
    """Pass on queries until this one is asked."""
    while (query := client.next()["query"])["id"] != query_id:
        client.answer(query, answer="skipped")
    return query


@pytest.mark.slow
@pytest.mark.parametrize("location", ["sqlite", "postgresql"], indirect=True)
def test_every_route_works(tmp_path, location, called):
    episodes = record_policies_of_an_arm(tmp_path / "data")
    settings = {"db": location, "overlap": 2}
    with (
        Running(tmp_path, tmp_path / "data", **settings) as running,
        running.client("anna") as anna, running.client("ben") as ben,
    ):  # fmt: skip
        assert anna.project()["kinds"]
        answer_and_undo(anna)
        two_decide(anna, ben)
        rate(anna, ben, episodes.ids[0])
        show_a_cloud(anna, episodes.ids[0])
        compare(anna)
        found = anna.progress()
        (criterion,) = found["criteria"]
        assert criterion["disagreements"] == 0
        assert criterion["rating_disagreements"] == 1
        decide_rating(anna, ben, found["contradictions"][0]["query_id"])
        assert criterion["agreement"]["kappa"]
        assert [row["episode_id"] for row in found["contradictions"]] == [episodes.ids[0]]
        newest = anna.mine()[0]["query_id"]
        assert anna.unblock(newest) is False
        assert anna.clips(newest)
        for form in ("jsonl", "parquet", "chosen_rejected", "lerobot"):
            anna.export(form, tmp_path / form)
        rows = pq.read_table(tmp_path / "lerobot").to_pylist()
        said = [(r["annotator"], r["answer"]) for r in rows if r["kind"] == "rating decision"]
        assert said == [("anna", "cannot tell")]
        assert anna.import_jsonl(tmp_path / "jsonl") == 0
        anna.request("DELETE", "/api/session")
        described = anna.get("/api/openapi.json")["paths"]
    assert untouched(described, called) == set()


def untouched(described, called):
    """Return the routes that no request went to."""
    patterns = {
        (method, route): re.compile(re.sub(r"\{\w+\}", "[^/]+", route) + "$")
        for route, methods in described.items()
        for method in methods
    }
    return {
        (method, route)
        for (method, route), pattern in patterns.items()
        if not any(method == by and pattern.match(path) for by, path in called)
    }


def answer_and_undo(client):
    query = client.next()["query"]
    assert client.renew(query["lease"]["id"]) > 0
    assert client.release(query["lease"]["id"])
    query = client.next()["query"]
    url = query["items"][0]["clips"]["wrist"]
    assert client.clip(query, 0)
    assert client.get(url + "/status") == {"state": "ready"}
    assert client.lanes(query, 0)
    answer = client.answer(query, [[0], [1]])
    assert [row["id"] for row in client.mine()] == [answer]
    assert client.undo(answer)["query"]["id"] == query["id"]


def two_decide(anna, ben):
    query = anna.next()["query"]
    anna.answer(query, [[0], [1]])
    ben.answer(until(ben, query["id"]), [[1], [0]])
    (found,) = anna.disagreements()
    assert found["query"]["id"] == query["id"]
    anna.undo_decision(anna.adjudicate(query["id"], "overall", [[0], [1]]))
    anna.adjudicate(query["id"], "overall", [[1], [0]], gold=True)
    assert anna.disagreements() == []
    other = anna.next()["query"]
    with pytest.raises(ClientError) as error:
        anna.adjudicate(other["id"], "overall", [[0], [1]])
    assert (error.value.status, error.value.code) == (409, "nothing-to-decide")


def rate(anna, ben, episode_id):
    item = {"episode_id": episode_id, "start": 2, "length": 5}
    anna.add_queries([{"items": [item]}])
    for client, verdict, mark in ((anna, "good", None), (ben, "bad", 3)):
        client.rate(client.next(kinds=["rating"])["query"], verdict, mark)


def decide_rating(anna, ben, query_id):
    (found,) = ben.disagreements(ratings=True)
    assert (found["query"]["id"], found["query"]["kind"]) == (query_id, "rating")
    assert [(a["annotator"], a["rating"], a["mark_step"]) for a in found["answers"]] == [
        ("anna", "good", None), ("ben", "bad", 3),
    ]  # fmt: skip
    first = ben.adjudicate_rating(query_id, "overall", "bad", 2)
    assert ben.disagreements(ratings=True) == []
    with pytest.raises(ClientError) as error:
        anna.adjudicate_rating(query_id, "overall", "good")
    assert (error.value.status, error.value.code) == (409, "decided-already")
    with pytest.raises(ClientError) as error:
        anna.undo_decision(first)
    assert error.value.status == 404
    ben.undo_decision(first)
    assert len(ben.disagreements(ratings=True)) == 1
    anna.adjudicate_rating(query_id, "overall", "cannot tell", note="It is out of sight.")


def show_a_cloud(client, episode_id):
    items = [
        {"episode_id": episode_id, "step": 3, "action": [[value] * 6] * 4} for value in (0.1, 0.5)
    ]
    client.add_queries([{"id": str(uuid.uuid4()), "items": items, "priority": 9}])
    query = client.next(kinds=["candidates"])["query"]
    assert client.cloud(query)
    client.answer(query, [[1], [0]])


def compare(client):
    (first, _) = client.add_comparisons(5)
    client.answer(until(client, first), [[0], [1]])
    found = client.comparison(reveal=True)
    assert found["waiting"] == 2
    (criterion,) = found["criteria"]
    assert {row["name"] for row in criterion["policies"]} == {"careful", "hasty"}
    assert criterion["pairs"][0]["num"] == 1
