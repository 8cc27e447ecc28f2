"""Tests for align/reward_fitting.py: folds tell what a reward is worth, and who errs."""

import uuid
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from robopref.align.reward_fitting import RewardFitting
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.trainer import TrainerConfig
from robopref.types import STATE

REWARD = MLPRewardConfig(
    num_members=2, hidden_sizes=(32,), n_action_steps=1,
    fit=FitConfig(trainer=TrainerConfig(num_steps=60, learning_rate=3e-3)),
)  # fmt: skip


@pytest.fixture(scope="module")
def episodes():
    """Return episodes of which those with larger actions are better."""
    rng = np.random.default_rng(0)
    made = {}
    for index, level in enumerate(np.linspace(-1, 1, 60)):
        action = (level + 0.1 * rng.normal(size=(10, 2))).astype(np.float32)
        state = rng.normal(size=(11, 3)).astype(np.float32)
        zeros = np.zeros(10, np.float32)
        key = str(uuid.UUID(int=index))
        made[key] = Episode(
            key, {STATE: state}, action, zeros, zeros == 0, True, False, "test/toy", "", index, 20
        )
    return made


def answers(episodes, num, flipped):
    """Return answers; `anna` is right, and `bob` wrong where `flipped` says so."""
    rng = np.random.default_rng(1)
    keys = list(episodes)
    found = []
    for number in range(num):
        a, b = rng.choice(60, 2, replace=False)
        winner = int(b > a)
        annotator = "anna" if number % 2 == 0 else "bob"
        if annotator == "bob" and flipped(number):
            winner = 1 - winner
        items = tuple(Segment(keys[i], 0, 10) for i in (a, b))
        found.append(Preference(
            f"p{number}", Query(f"q{number}", items), Ranking.prefer(winner), annotator
        ))  # fmt: skip
    return found


def fitting(episodes, preferences, *, doubt=False):
    config = SimpleNamespace(reward=REWARD, seed=0)
    return RewardFitting(config, preferences, lambda s: s.cut(episodes[s.episode_id]), doubt=doubt)


def test_a_reward_foretells_answers_it_was_not_given(episodes):
    right = fitting(episodes, answers(episodes, 40, lambda n: False))
    assert right.held_out_accuracy() > 0.85
    noise = answers(episodes, 40, lambda n: True)  # anna right, bob always wrong
    assert fitting(episodes, noise).held_out_accuracy() < 0.75


def test_mistakes_are_found_and_doubted(episodes):
    preferences = answers(episodes, 80, lambda n: n % 4 == 1)  # half of what bob says
    plain = fitting(episodes, preferences)
    doubted = fitting(episodes, preferences, doubt=True)
    belief = np.where(
        plain.view.prefers_b > 0.5, doubted.view.prefers_b, 1 - doubted.view.prefers_b
    )
    wrong = np.array([n % 4 == 1 for n in range(80)])
    anna = np.arange(80) % 2 == 0
    assert belief[wrong].mean() < 0.4
    assert belief[anna].mean() > 0.9
    assert belief[~anna & ~wrong].mean() > belief[wrong].mean() + 0.2
    assert plain.segments == doubted.segments


def test_few_answers_are_believed(episodes):
    preferences = answers(episodes, 7, lambda n: False)
    view = fitting(episodes, preferences, doubt=True).view
    assert set(view.prefers_b) == {0.0, 1.0}


def test_few_answers_by_one_criterion_are_believed_beside_many_by_another(episodes):
    preferences = answers(episodes, 46, lambda n: n % 4 == 1)
    judged = [
        replace(p, criterion="first" if n < 40 else "second") for n, p in enumerate(preferences)
    ]
    view = fitting(episodes, judged, doubt=True).view
    assert not set(view.prefers_b[:40]) <= {0.0, 1.0}
    assert set(view.prefers_b[40:]) <= {0.0, 1.0}


def test_ties_are_no_test_of_a_reward(episodes):
    keys = list(episodes)
    items = (Segment(keys[0], 0, 10), Segment(keys[9], 0, 10))
    tie = Preference("t", Query("t", items), Ranking.tie(), "anna")
    preferences = [*answers(episodes, 9, lambda n: False), tie]
    margins = fitting(episodes, preferences).held_out_margins()
    assert np.isnan(margins).tolist() == [False] * 9 + [True]
    with pytest.raises(DataError):
        fitting(episodes, [])
