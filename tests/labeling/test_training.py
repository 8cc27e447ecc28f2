"""Tests of the loop: the reward is refitted as labels come, and asks for what teaches it."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.labeling.background import Trainer, Turn, look, read_turn
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import LabelQueue
from robopref.labeling.training import MIN_LABELS, Refitter, TrainerConfig
from robopref.labeling.value import value_of_more
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE

STEPS = replace(FitConfig().trainer, num_steps=60, learning_rate=3e-3)
LEARNER = MLPRewardConfig(num_members=3, hidden_sizes=(16,), fit=FitConfig(trainer=STEPS))


def record(folder, num=16, num_steps=12):
    """Record episodes that move at different speeds; faster ones are to be preferred."""
    store = EpisodeStore.create(folder, fps=10.0)
    for number in range(num):
        speed = number / num
        state = np.outer(np.arange(num_steps + 1), [speed, 1 - speed]).astype(np.float32)
        store.add(
            Episode(
                f"e{number:02d}", {STATE: state}, np.full((num_steps, 2), speed, np.float32),
                np.zeros(num_steps, np.float32), np.zeros(num_steps, bool), False, True, "line",
                "run", seed=number, fps=10.0,
            )
        )  # fmt: skip
    return store


def pair(a, b, name=None):
    return Query(
        name or f"{a}-{b}", (Segment(f"e{a:02d}", 0, 12), Segment(f"e{b:02d}", 0, 12)), "uniform"
    )


def answer(store, query, number):
    """The faster one wins."""
    winner = int(query.items[1].episode_id > query.items[0].episode_id)
    store.answer(Preference(f"a{number}", query, Ranking.prefer(winner), annotator="anna"))


@pytest.fixture
def place(tmp_path):
    """A data set, a store with answers and open queries, and settings."""
    episodes = record(tmp_path / "data")
    config = TrainerConfig(
        tmp_path / "data", str(tmp_path / "store.sqlite"), tmp_path / "out", min_open=4, num_new=6,
        segment_length=None, num_segments=16, learner=LEARNER,
    )  # fmt: skip
    store = PreferenceStore(config.db)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(16, 2, replace=False) for _ in range(24)]
    answered = [pair(int(a), int(b), f"q{i}") for i, (a, b) in enumerate(drawn)]
    waiting = [pair(a, b) for a, b in [(0, 1), (0, 15), (7, 8), (3, 12), (14, 15)]]
    store.add_queries(answered + waiting, cut_hash=episodes.content_hash)
    for number, query in enumerate(answered):
        answer(store, query, number)
    LabelQueue(store.database, LabelConfig()).fill()
    yield store, config
    store.close()


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


def test_answers_of_who_is_contradicted_pull_less(place):
    store, config = place
    refitter: Any = Refitter(config)
    for number, query in enumerate(store.queries()[:24]):
        for who in ("ben", "mallory"):
            winner = int(query.items[1].episode_id > query.items[0].episode_id)
            winner = 1 - winner if who == "mallory" else winner
            store.answer(Preference(f"{who}{number}", query, Ranking.prefer(winner), annotator=who))
    answers, _ = refitter._answers("overall")
    assert {a.confidence for a in answers if a.annotator == "mallory"} == {0.5}
    assert min(a.confidence for a in answers if a.annotator == "ben") > 0.9
    refitter.close()


def test_one_of_several_trainers_has_the_turn(place):
    store, _ = place
    first, second = Turn(store.database), Turn(store.database)
    assert first.take()
    assert first.take()
    assert not second.take()
    first.say("fitting", "Fitting.", reward="somewhere")
    assert read_turn(store.database)["state"] == "fitting"
    first.leave()
    assert second.take()
    assert read_turn(store.database)["reward"] == "somewhere"


@pytest.mark.slow
def test_the_child_process_fits_as_answers_come_and_ends_with_the_server(place):
    store, config = place
    rewards: list[Path] = []
    with Trainer(config, store.database, rewards.append) as trainer:
        deadline = time.monotonic() + 120
        while not rewards and time.monotonic() < deadline:
            time.sleep(0.2)
        assert rewards, trainer.state()
        assert trainer.state()["state"] in ("waiting", "fitting")
        process = trainer._process
    assert not process.is_alive()
    assert (rewards[0] / "config.json").is_file()


def test_what_more_labels_are_worth():
    assert value_of_more([]) is None
    curve = [(n, 1 - 2 / n) for n in (20, 40, 80)]
    assert value_of_more(curve) == pytest.approx(2 / 80 - 2 / 90)
    assert value_of_more([(100, 0.9)]) == pytest.approx(0.1 - 0.1 * (100 / 110) ** 0.5)
    assert value_of_more([(n, 0.5) for n in (10, 20, 30)]) == pytest.approx(0, abs=1e-12)
    value = value_of_more([(10, 1.0)])
    assert value is not None
    assert 0 < value < 0.05, "no mistake among few proves little"
