"""Tests for benchmarks/carried_labels.py and benchmarks/transfer_rewards.py."""

import numpy as np
import pytest

from benchmarks.carried_labels import Labels, ask, carry_labels, learn_reward, true_labels
from benchmarks.robust_rewards import Judged
from benchmarks.transfer_rewards import PEOPLES, cross_validate, load_people
from robopref.data.segment import Segment
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.transfer import TaskSegments

NUM = 30


def make_judged(returns):
    return Judged([Segment(f"e{i}", 0, 50) for i in range(len(returns))], np.array(returns))


def make_task(rng, name="task"):
    features = rng.standard_normal((NUM, 3))
    judged = make_judged(features[:, 0] + features[:, 1])
    return TaskSegments(name, rng.standard_normal((NUM, 5, 2)), features), judged


def test_true_labels_are_right_and_ties_count_as_such():
    judged = make_judged([0.0, 1.0, 1.0, 3.0])
    labels = true_labels(judged, np.array([0, 1, 3]), np.array([1, 2, 0]))
    assert labels.prefers_b.tolist() == [1.0, 0.5, 0.0]
    assert labels.accuracy(judged) == 1.0
    assert Labels(labels.a, labels.b, 1 - labels.prefers_b).accuracy(judged) == 0.0
    # Of the two pairs that the truth decides one is left open.
    assert Labels(labels.a, labels.b, np.array([0.5, 0.9, 0.2])).accuracy(judged) == 0.75


def test_labels_are_carried_from_tasks_that_are_judged_alike(rng):
    target, judged = make_task(rng, "target")
    made = [make_task(rng, f"source {i}") for i in range(2)]
    sources = [ask([], source, truth, 40) for source, truth in made]
    assert all(len(source.a) == 40 for source in sources)
    carried = carry_labels(sources, target, rng)
    assert len(carried.a) == NUM * (NUM - 1) // 2
    assert carried.accuracy(judged) > 0.85
    against = carry_labels(
        [TaskSegments(s.name, s.steps, s.features, s.a, s.b, 1 - s.prefers_b) for s in sources],
        target, rng,
    )  # fmt: skip
    assert against.accuracy(judged) < 0.15


def test_answers_are_asked_once_each(rng):
    target, judged = make_task(rng)
    answered = ask([], target, judged, 12)
    pairs = {frozenset(pair) for pair in zip(answered.a, answered.b, strict=True)}
    assert len(pairs) == 12
    truth = true_labels(judged, answered.a, answered.b)
    assert np.array_equal(answered.prefers_b, truth.prefers_b)


@pytest.fixture(scope="module")
def people():
    return {name: load_people(name) for name in PEOPLES}


def test_only_decided_answers_of_people_are_scored(people):
    # As benchmarks/data/human_preferences/README.md counts them.
    assert {n: len(p.task.a) for n, p in people.items()} == {"lift": 45, "can": 66, "square": 72}
    assert {n: len(p.task) for n, p in people.items()} == {"lift": 105, "can": 197, "square": 198}
    assert {n: p.recording.max() + 1 for n, p in people.items()} == {
        "lift": 32, "can": 136, "square": 136,
    }  # fmt: skip


def test_folds_apart_share_no_recording(people):
    can = people["can"]
    tested, rest = np.arange(10), np.arange(10, 66)
    kept = can.apart(rest, tested)

    def of(pairs):
        return set(can.recording[can.task.a[pairs]]) | set(can.recording[can.task.b[pairs]])

    assert 0 < len(kept) < len(rest)
    assert not of(kept) & of(tested)


def test_cross_validation_knows_no_tested_answer(people):
    """Who says what was answered knows nothing of the rest; who knows all of it is always right."""
    lift = people["lift"]
    t = lift.task
    truth = np.zeros(len(t))
    np.add.at(truth, t.b, 2 * t.prefers_b - 1)
    np.add.at(truth, t.a, 1 - 2 * t.prefers_b)
    seen = []

    def learn(known):
        seen.append(len(known.a))
        return truth

    found = cross_validate(lift, learn, 2, apart=False)
    assert found["value"] > 0.8
    assert seen == [36] * 10
    assert found["n"] == 45
    assert found["low"] < found["value"] < found["high"]
    nothing = cross_validate(lift, lambda known: np.zeros(len(t)), 1, apart=True)
    assert nothing["value"] == 0.5
    assert nothing["answers_learned_from"] < 36


def test_a_reward_learns_peoples_answers(people):
    square = people["square"]
    t = square.task
    labels = Labels(t.a, t.b, t.prefers_b)
    reward = learn_reward(square.segments, square.judged, labels, 0, MLPRewardConfig(num_members=1))
    returns = reward.segment_return(square.segments)
    agrees = (returns[t.b] > returns[t.a]) == (t.prefers_b > 0.5)
    assert agrees.mean() > 0.9
