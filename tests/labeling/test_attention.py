"""Tests that what is answered to an attention check is a label nowhere."""

import itertools
import json

import pyarrow.parquet as pq
import pytest

from robopref.labeling.recent import num_ranked_since, recent_answers
from robopref.train_reward import load_preferences
from tests.labeling.clip_data import record_real
from tests.labeling.running import Running


@pytest.fixture
def failed(tmp_path):
    """Four answers and one to an attention check that was failed: a side was chosen."""
    record_real(tmp_path / "data")
    with (
        Running(tmp_path, tmp_path / "data", attention_every=5) as running,
        running.client() as client,
    ):
        for _ in range(4):
            query = client.next()["query"]
            client.answer(query, [[query["order"][0]], [query["order"][1]]])
        check = client.next()["query"]
        assert check["role"] == "attention"
        client.answer(check, [[0], [1]])
        yield running, client, check["id"]


def test_a_failed_check_counts_as_a_failed_check_and_not_as_a_label(failed):
    running, client, _ = failed
    (criterion,) = client.progress()["criteria"]
    assert criterion["labels"] == 4
    assert [day["labels"] for day in criterion["per_day"]] == [4]
    (person,) = criterion["annotators"]
    assert (person["attention"]["value"], person["attention"]["num"]) == (0.0, 1)
    assert running.service.store.num_labels() == 4


def test_checks_come_as_often_as_promised_from_the_first_on(tmp_path):
    record_real(tmp_path / "data")
    with Running(
        tmp_path, tmp_path / "data", attention_every=3, gold_every=3, repeat_every=2
    ) as running, running.client() as client:  # fmt: skip
        episodes = running.service.episodes.ids
        items = [[{"episode_id": e, "start": s, "length": 7} for e in episodes] for s in range(3)]
        client.add_queries({"items": i, "gold": {"order": [[0], [1]]}} for i in items)
        roles = []
        for number in range(12):
            query = client.next()["query"]
            roles.append(query["role"])
            client.answer(query, answer=("skipped", "incomparable")[number % 2])
        places = [number for number, role in enumerate(roles) if role == "attention"]
        # A known answer has its turn first, when both are due.
        assert places[0] == 3
        assert max(b - a for a, b in itertools.pairwise(places)) <= 4
        with running.client("ben") as other:
            other.answer(other.next()["query"], answer="incomparable")
            other.answer(other.next()["query"], answer="incomparable")
            other.answer(other.next()["query"], answer="incomparable")  # the known one
            assert other.next()["query"]["role"] == "attention"


def test_a_repetition_whose_turn_is_taken_comes_at_the_next_one(tmp_path):
    record_real(tmp_path / "data")
    every = {"gold_every": 4, "repeat_every": 8, "attention_every": 8}
    with Running(tmp_path, tmp_path / "data", **every) as running, running.client() as client:
        ids = running.service.episodes.ids
        items = [[{"episode_id": e, "start": s, "length": 7} for e in ids] for s in range(3)]
        known = client.add_queries({"items": i, "gold": {"order": [[0], [1]]}} for i in items)
        came = []
        for _ in range(12):
            query = client.next()["query"]
            strategy = running.service.query(query["id"]).strategy
            came.append("gold" if query["id"] in known else strategy)
            client.answer(query, [[0], [1]])
    # The eighth turn is the second known answer's, the next one the attention check's.
    assert [came.index(each) for each in ("gold", "attention", "repeat")] == [3, 8, 9]
    assert came.count("repeat") == came.count("attention") == 1
    assert [number for number, each in enumerate(came) if each == "gold"] == [3, 7, 11]


def test_no_reward_is_fitted_to_it(failed):
    running, _, check = failed
    database = running.service.store.database
    for answers in (
        running.service.store.preferences(),
        running.service.store.believed(),
        recent_answers(database, "overall", 100, ranked=True)[0],
        load_preferences(running.config.db, running.service.episodes),
    ):
        assert len(answers) == 4
        assert check not in {answer.query.id for answer in answers}
    assert num_ranked_since(database, "overall", 0) == 4


@pytest.mark.slow
def test_no_export_has_it(failed, tmp_path):
    _, client, check = failed
    for form in ("jsonl", "chosen_rejected", "parquet", "lerobot"):
        client.export(form, tmp_path / form)
    for form in ("jsonl", "chosen_rejected"):
        rows = [json.loads(line) for line in (tmp_path / form).read_text().splitlines()]
        assert len(rows) == 4
        assert check not in (tmp_path / form).read_text()
    for form in ("parquet", "lerobot"):
        assert check not in pq.read_table(tmp_path / form)["query_id"].to_pylist()


def test_failing_what_is_known_lowers_what_else_an_annotator_says(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data", gold_every=2) as running, running.client() as client:
        ids = running.service.episodes.ids
        items = [[{"episode_id": e, "start": s, "length": 6} for e in ids] for s in range(6)]
        known = client.add_queries({"items": i, "gold": {"order": [[0], [1]]}} for i in items)
        for _ in range(12):
            query = client.next()["query"]
            client.answer(query, [[1], [0]])
        believed = running.service.store.believed()
        assert {p.confidence for p in believed if p.query.id in known} == {0.5}
        assert max(p.confidence for p in believed) < 0.7, "six of six known answers were wrong"
