"""Tests of what is done around the labelling, over HTTP: progress, decisions, policies, files."""

import json
import uuid

import numpy as np
import pyarrow.parquet as pq
import pytest

from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.labeling.client import ClientError
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.store import PreferenceStore
from robopref.train_reward import load_preferences
from robopref.types import IMAGES, STATE
from tests.labeling.clip_data import brightness
from tests.labeling.running import Running

on_both = pytest.mark.parametrize(
    "location", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


def record_policies(folder, num_seeds=4):
    """Record episodes of two policies that start alike; the better one reaches further."""
    store = EpisodeStore.create(folder, fps=10.0)
    pictures = brightness(9)
    for seed in range(num_seeds):
        for policy in ("careful", "hasty"):
            reach = np.linspace(0, 1 if policy == "careful" else 0.1, 9, dtype=np.float32)
            store.add(
                Episode(
                    str(uuid.uuid4()),
                    {STATE: np.stack([reach, reach], 1), f"{IMAGES}front": pictures},
                    np.zeros((8, 1), np.float32), np.zeros(8, np.float32), np.zeros(8, bool),
                    False, True, "arm", "reach", seed=seed, fps=10.0,
                    metadata={"policy": policy},
                )
            )  # fmt: skip
    return store


def answer_all(client, choose):
    """Answer every query by `choose`, which is given its items; return how many."""
    num = 0
    while (query := client.next()["query"]) is not None:
        client.answer(query, choose(query), response_time_s=2.0)
        num += 1
    return num


@on_both
def test_progress_says_who_agrees_and_who_is_quick(tmp_path, location, data):
    with Running(tmp_path, data, db=location, overlap=3) as running:
        first = lambda _: [[0], [1]]  # noqa: E731
        with running.client("anna") as client:
            assert answer_all(client, first) == 20
        with running.client("ben") as client:
            assert answer_all(client, first) == 20
        with running.client("mallory") as client:
            while (query := client.next()["query"]) is not None:
                winner = query["order"][0]
                client.answer(query, [[winner], [1 - winner]], response_time_s=0.5)
            found = client.progress()
        (criterion,) = found["criteria"]
        assert (criterion["labels"], criterion["answers"], criterion["remaining"]) == (60, 60, 0)
        people = {person["name"]: person for person in criterion["annotators"]}
        assert people["anna"]["seconds_median"] == 2.0
        assert people["mallory"]["first_shown_share"]["value"] == 1.0
        assert people["mallory"]["first_shown_share"]["low"] > 0.6
        assert people["mallory"]["first_shown_share"]["p_value"] == 2 / 2**20
        assert people["anna"]["first_shown_share"]["p_value"] > 0.001
        assert people["anna"]["reliability_votes"] > people["mallory"]["reliability_votes"]
        kappa = {(row["a"], row["b"]): row["kappa"] for row in criterion["agreement"]["kappa"]}
        assert set(kappa) == {("anna", "ben"), ("anna", "mallory"), ("ben", "mallory")}
        assert criterion["agreement"]["alpha"] is not None
        assert [row["labels"] for row in criterion["per_day"]] == [60]
        assert found["trainer"]["state"] == "off"
        json.dumps(found, allow_nan=False)


def test_answers_without_a_time_are_of_no_day(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        query = running.service.query(client.next()["query"]["id"])
        assert isinstance(query, Query)
        imported = Preference("imported", query, Ranking.prefer(0), annotator="human")
        running.service.store.answer(imported)
        (criterion,) = client.progress()["criteria"]
        assert (criterion["labels"], criterion["per_day"]) == (1, [])


@on_both
def test_checks_are_scored(tmp_path, location, data):
    with Running(tmp_path, data, db=location, gold_every=2, repeat_every=5) as running:
        with running.client() as client:
            first = client.next()["query"]
            items = [
                {"episode_id": e, "start": s, "length": 6}
                for e, s in zip(running.service.episodes.ids, (1, 3), strict=True)
            ]
            (gold,) = client.add_queries([{"items": items, "gold": {"order": [[1], [0]]}}])
            client.answer(first, [[0], [1]])
            due = client.next()["query"]
            assert due["id"] == gold
            assert "gold" not in json.dumps(due), "it does not show that it is one"
            client.answer(due, [[1], [0]])
            turned = running.service.query(gold).items[::-1]
            while (query := client.next()["query"]) is not None:
                # The known one may be repeated too; the same place wins again, as of all others.
                is_known = running.service.query(query["id"]).items == turned
                client.answer(query, [[1], [0]] if is_known else [[0], [1]])
            (person,) = client.progress()["criteria"][0]["annotators"]
        assert (person["gold"]["value"], person["gold"]["num"]) == (1.0, 1)
        assert person["consistency"] == 0.0, "repeated pairs are turned around"


@on_both
def test_a_disagreement_is_decided_once_and_counts_for_all(tmp_path, location, data):
    with Running(tmp_path, data, db=location, overlap=2) as running:
        with running.client("anna") as anna, running.client("ben") as ben:
            answer_all(anna, lambda _: [[0], [1]])
            assert anna.disagreements() == []
            for number in range(20):
                query = ben.next()["query"]
                ben.answer(query, [[1], [0]] if number < 2 else [[0], [1]])
        with running.client("judge") as judge:
            found = judge.disagreements("overall")
            assert len(found) == 2
            assert [row["annotator"] for row in found[0]["answers"]] == ["anna", "ben"]
            assert {"items", "question", "kind"} <= set(found[0]["query"])
            name = found[0]["query"]["id"]
            judge.adjudicate(name, "overall", [[1], [0]], note="It reaches.", gold=True)
            with pytest.raises(ClientError) as error:
                judge.adjudicate(name, "overall", [[0], [1]])
            assert (error.value.status, error.value.code) == (409, "decided-already")
            assert len(judge.disagreements()) == 1
            assert judge.next()["query"] is None or judge.next()["query"]["id"] != name
        # What `robopref train reward` fits to.
        fitted = load_preferences(running.config.db, running.service.episodes)
        (decided,) = [p for p in fitted if p.query.id == name]
        assert (decided.ranking.order, decided.confidence) == (((1,), (0,)), 1.0)
        assert len(fitted) == 39
        disputed = {
            p.annotator: p.confidence for p in fitted if p.query.id == found[1]["query"]["id"]
        }
        assert disputed["anna"] == 0.5 < disputed["ben"] < 0.9, "the decision was against anna"
        pairs = running.service.store.chosen_rejected()
        assert [p["annotator"] for p in pairs if p["preference_id"] == decided.id] == [
            "adjudicated"
        ]


@on_both
def test_policies_are_compared_blind(tmp_path, location):
    episodes = record_policies(tmp_path / "data")
    policies = {row.episode_id: row.metadata["policy"] for row in episodes.rows}
    with (
        Running(tmp_path, tmp_path / "data", db=location) as running,
        running.client() as client,
    ):
        for waiting in running.service.store.queries():
            running.service.queue.block(waiting.id, "Not for this test.")
        assert len(client.post("/api/comparison", {"num": 10})["ids"]) == 4
        assert client.comparison()["waiting"] == 4
        while (query := client.next()["query"]) is not None:
            assert "careful" not in json.dumps(query)
            asked = running.service.query(query["id"])
            names = [policies[item.episode_id] for item in asked.items]
            seeds = {running.service.episodes.row(i.episode_id).seed for i in asked.items}
            assert len(seeds) == 1
            good = names.index("careful")
            client.answer(query, [[good], [1 - good]])
        hidden, shown = client.comparison(), client.comparison(reveal=True)
        assert "careful" not in json.dumps(hidden)
        by_name = {p["name"]: p for p in shown["criteria"][0]["policies"]}
        assert (by_name["careful"]["wins"], by_name["careful"]["losses"]) == (4, 0)
        assert by_name["careful"]["score"] > 0 > by_name["hasty"]["score"]
        assert by_name["careful"]["low"] < by_name["careful"]["score"]
        scores = [[p["score"] for p in each["criteria"][0]["policies"]] for each in (hidden, shown)]
        assert scores[0] == scores[1]
        with pytest.raises(ClientError, match="no two episodes of different policies") as error:
            client.post("/api/comparison", {"num": 1})
        assert error.value.status == 404


def test_ratings_of_one_clip_go_in_and_out(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        episode = running.service.episodes.ids[1]
        item = {"episode_id": episode, "start": 4, "length": 10}
        (name,) = client.add_queries([{"items": [item], "reason": "Look.", "priority": 5}])
        query = client.next(kinds=["rating"])["query"]
        assert (query["id"], query["kind"], query["why"]) == (name, "rating", "Look.")
        with pytest.raises(ClientError) as error:
            client.rate(query, "bad", 10)
        assert (error.value.status, str(error.value)) == (
            422,
            "`mark_step` must be between 0 and 9, got 10.",
        )
        first = client.rate(query, "good")
        client.undo(first)
        client.rate(query, "bad", 3, tags=["slow"])
        assert client.progress()["ratings"] == [
            {"criterion": "overall", "annotator": "anna", "rating": "bad", "num": 1}
        ]
        client.answer(client.next()["query"], [[0], [1]])
        client.export("lerobot", tmp_path / "labels.parquet")
        rows = pq.read_table(tmp_path / "labels.parquet").to_pylist()
        (rated,) = [row for row in rows if row["kind"] == "rating"]
        assert (rated["episode_index"], rated["episode_id"]) == (1, episode)
        assert json.loads(rated["details"]) == {"tags": ["slow"]}
        assert (rated["from_frame"], rated["to_frame"], rated["mark_frame"]) == (4, 14, 7)
        assert sorted(row["rank"] for row in rows if row["kind"] == "segment") == [0, 1]


def test_answers_go_out_and_into_another_store(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        answer_all(client, lambda _: [[0], [1]])
        for form in ("jsonl", "parquet", "chosen_rejected", "lerobot"):
            client.export(form, tmp_path / f"out.{form}")
        with PreferenceStore(tmp_path / "store.sqlite") as store:
            store.export_jsonl(tmp_path / "same.jsonl")
        assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "same.jsonl").read_bytes()
        assert pq.read_table(tmp_path / "out.parquet").num_rows == 20
        assert client.import_jsonl(tmp_path / "out.jsonl") == 0
        with pytest.raises(ClientError) as error:
            client.export("pickle", tmp_path / "x")
        assert error.value.status == 422
        (tmp_path / "broken.jsonl").write_text('{"id": 1}\n')
        with pytest.raises(ClientError) as broken:
            client.import_jsonl(tmp_path / "broken.jsonl")
        assert (broken.value.status, str(broken.value)) == (
            422, "Line 1 is not a preference: it needs an object 'query'.",
        )  # fmt: skip
    (tmp_path / "other").mkdir()
    with Running(tmp_path / "other", data) as other, other.client() as client:
        assert client.import_jsonl(tmp_path / "out.jsonl") == 20
        assert client.progress()["criteria"][0]["labels"] == 20


def test_queries_that_cannot_be_are_refused(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        episode = running.service.episodes.ids[0]
        good = {"episode_id": episode, "start": 0, "length": 5}
        for items, status in [
            ([good, good], 422),
            ([good, {**good, "episode_id": "gone"}], 404),
            ([good, {**good, "length": 10_000}], 404),
            ([{"episode_id": episode, "step": 0, "action": [[0.0]]}], 422),
            ([], 422),
        ]:
            with pytest.raises(ClientError) as error:
                client.add_queries([{"items": items}])
            assert error.value.status == status, items
        key = str(uuid.uuid4())
        pair = [good, {**good, "start": 6}]
        assert client.add_queries([{"id": key, "items": pair}]) == [key]
        assert client.add_queries([{"id": key, "items": pair}]) == [key]
        with pytest.raises(ClientError) as taken:
            client.add_queries([{"id": key, "items": pair[::-1]}])
        assert (taken.value.status, taken.value.code) == (409, "id-taken")
        with pytest.raises(ClientError) as gold:
            client.add_queries([{"items": pair, "gold": {"order": [[3], [0]]}}])
        assert gold.value.status == 422
