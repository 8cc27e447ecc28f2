"""Tests of the loop: the reward is refitted as labels come, and asks for what teaches it."""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robopref.labeling.background import Turn, look, read_turn
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import LabelQueue
from robopref.labeling.training import MIN_LABELS, Refitter
from robopref.labeling.training_config import TrainerConfig
from robopref.labeling.value import value_of_more
from robopref.preferences import Preference, Ranking, tables
from robopref.preferences.store import PreferenceStore
from tests.labeling.training_data import LEARNER, answer, pair, place, record

__all__ = ["place"]


def test_the_reward_is_fitted_measured_and_puts_the_queue_in_order(place):
    store, config = place
    refitter: Any = Refitter(config)
    assert refitter.is_due("overall")
    figures = refitter.refit("overall")
    assert figures["accuracy"] > 0.8
    assert figures["low"] <= figures["accuracy"] <= figures["high"]
    assert figures["value_of_ten"] >= 0
    assert not refitter.is_due("overall"), "nothing new was answered"
    queue = LabelQueue(store.database, LabelConfig())
    order = queue.open_queries("overall", 10)
    returns = refitter._reward("overall").member_returns(
        refitter._batch([item for query in order for item in query.items])
    )
    wins = 1 / (1 + np.exp(returns[:, ::2] - returns[:, 1::2]))
    disagreement = wins.std(axis=0)
    assert (np.diff(disagreement) <= 1e-9).all(), "most disputed first"
    refitter.close()


def test_the_page_says_why_and_a_restarted_trainer_knows_its_reward(place):
    from robopref.labeling.assignment import Assignment

    store, config = place
    first: Any = Refitter(config)
    figures = first.refit("overall")
    first.close()
    assigned: Any = Assignment(store.database, LabelConfig()).next("ben")
    assert assigned.entry.why
    assert assigned.entry.why != assigned.query.reason
    again = Refitter(config)
    assert not again.is_due("overall")
    assert again._reward("overall") is not None
    assert (config.out / "rewards").is_dir()
    assert str(config.out) in figures["reward"]
    again.close()


def test_queries_are_made_before_and_after_there_is_a_reward(tmp_path):
    record(tmp_path / "data")
    config = TrainerConfig(
        tmp_path / "data", str(tmp_path / "store.sqlite"), tmp_path / "out", min_open=3, num_new=5,
        segment_length=6, num_segments=20, learner=LEARNER,
    )  # fmt: skip
    with PreferenceStore(config.db) as store:
        refitter: Any = Refitter(config)
        assert not refitter.is_due("overall")
        assert refitter.refit("overall") is None
        assert refitter.refill("overall") == 5
        assert refitter.refill("overall") == 0, "there are enough"
        number = 0
        while number < MIN_LABELS:
            for query in store.pending("anna"):
                answer(store, query, number)
                number += 1
            refitter.refill("overall")
        assert refitter.is_due("overall")
        assert refitter.refit("overall") is not None
        for query in store.pending("anna"):
            answer(store, query, number)
            number += 1
        assert refitter.refill("overall") > 0
        made = store.queries()
        assert made[-1].strategy == "disagreement"
        assert len({frozenset(query.items) for query in made}) == len(made), "no pair twice"
        refitter.close()


def test_answers_that_decide_nothing_are_waited_out_in_words(tmp_path):
    episodes = record(tmp_path / "data")
    config = TrainerConfig(
        tmp_path / "data", str(tmp_path / "store.sqlite"), tmp_path / "out", min_open=1,
        segment_length=None, learner=LEARNER,
    )  # fmt: skip
    with PreferenceStore(config.db) as store, contextlib.closing(Refitter(config)) as refitter:
        queries = [pair(n, n + 1) for n in range(MIN_LABELS + 1)]
        store.add_queries(queries, cut_hash=episodes.content_hash)
        for number, query in enumerate(queries[:-1]):
            tie = Ranking(2, ((0, 1),))
            store.answer(Preference(f"a{number}", query, tie, annotator="anna"))
        turn = Turn(store.database)
        assert refitter.is_due("overall")
        look(refitter, turn)
        said = read_turn(store.database)
        assert said["state"] == "waiting"
        assert said["message"] == (
            "No reward by 'overall' yet: it takes 8 pairs of which one was preferred. Ties, and "
            "answers whose clips are gone, decide nothing."
        )
        assert not refitter.is_due("overall"), "nothing new was answered"
        answer(store, queries[-1], 99)
        assert refitter.is_due("overall")


def test_queries_are_made_of_episodes_added_meanwhile(tmp_path):
    episodes = record(tmp_path / "data", num=2)
    config = TrainerConfig(
        tmp_path / "data", str(tmp_path / "store.sqlite"), tmp_path / "out", min_open=4, num_new=40,
        segment_length=None, learner=LEARNER,
    )  # fmt: skip
    with PreferenceStore(config.db), contextlib.closing(Refitter(config)) as refitter:
        assert refitter.refill("overall") == 1, "two episodes are one pair"
        other = record(tmp_path / "other", num=4)
        other.delete(episodes.ids)
        episodes.merge(other)
        assert refitter.refill("overall") == 5, "four episodes are six pairs"


def test_what_is_taken_back_or_decided_later_leads_to_another_fit(place):
    store, config = place
    with contextlib.closing(Refitter(config)) as refitter:
        refitter.refit("overall")
        first = store.preferences()[0]
        store.undo(first.id)
        assert refitter.is_due("overall")
        refitter.refit("overall")
        assert not refitter.is_due("overall")
        row = {
            "id": "d", "query_id": first.query.id, "criterion": "overall", "answer": "ranked",
            "order": [[0], [1]], "annotator": "judge", "reason": "", "time_s": 0.0,
        }  # fmt: skip
        with store.database.writing() as connection:
            connection.execute(tables.adjudications.insert(), row)
        assert refitter.is_due("overall")
        refitter.refit("overall")
        with store.database.writing() as connection:
            connection.execute(tables.adjudications.delete())
        assert refitter.is_due("overall")
        refitter.refit("overall")
        store.answer(replace(first, id="new"))
        assert not refitter.is_due("overall")
        store.undo("new")
        assert not refitter.is_due("overall"), "no reward was fitted to it"


def test_answers_of_who_is_contradicted_pull_less(place):
    store, config = place
    refitter: Any = Refitter(config)
    for number, query in enumerate(store.queries()[:24]):
        for who in ("ben", "mallory"):
            winner = int(query.items[1].episode_id > query.items[0].episode_id)
            winner = 1 - winner if who == "mallory" else winner
            store.answer(Preference(f"{who}{number}", query, Ranking.prefer(winner), annotator=who))
    answers, *_ = refitter._answers("overall")
    assert {a.confidence for a in answers if a.annotator == "mallory"} == {0.5}
    assert min(a.confidence for a in answers if a.annotator == "ben") > 0.9
    refitter.close()


def test_what_more_labels_are_worth():
    assert value_of_more([]) is None
    curve = [(n, 1 - 2 / n) for n in (20, 40, 80)]
    assert value_of_more(curve) == pytest.approx(2 / 80 - 2 / 90)
    assert value_of_more([(100, 0.9)]) == pytest.approx(0.1 - 0.1 * (100 / 110) ** 0.5)
    assert value_of_more([(n, 0.5) for n in (10, 20, 30)]) == pytest.approx(0, abs=1e-12)
    value = value_of_more([(10, 1.0)])
    assert value is not None
    assert 0 < value < 0.05, "no mistake among few proves little"
