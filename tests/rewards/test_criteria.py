"""Tests for criteria.py: each criterion has a reward of its own, and all are to be satisfied."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robopref.preferences.preference import PairwiseView
from robopref.rewards.criteria import CriteriaRewardConfig
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.trainer import TrainerConfig
from robopref.types import STATE, SegmentBatch

PART = MLPRewardConfig(
    num_members=2, hidden_sizes=(16,), n_action_steps=1,
    fit=FitConfig(trainer=TrainerConfig(num_steps=150, learning_rate=3e-3)),
)  # fmt: skip
CONFIG = CriteriaRewardConfig(("left", "fast"), PART)


def of_two(left, fast):
    """Return segments that show two things to a degree each, and nothing else."""
    left, fast = np.broadcast_arrays(left, fast)
    action = np.repeat(np.stack([left, fast], axis=-1)[:, None], 6, axis=1).astype(np.float32)
    state = np.zeros((len(left), 6, 3), np.float32)
    return SegmentBatch({STATE: state}, action, np.ones((len(left), 6), bool))


def pairs(criteria=("left", "fast"), num=80, ties=False):
    """Return pairs of which every other is judged by one criterion, and the rest by the other."""
    rng = np.random.default_rng(0)
    shown = rng.uniform(-1, 1, (2 * num, 2))
    a, b = np.arange(0, 2 * num, 2), np.arange(1, 2 * num, 2)
    which = np.arange(num) % 2
    prefers_b = (shown[b, which] > shown[a, which]).astype(np.float32)
    if ties:
        prefers_b[which == 1] = 0.5
    return PairwiseView(
        of_two(*shown.T), tuple(f"e{i}" for i in range(2 * num)), a, b, prefers_b,
        np.ones(num, np.float32), tuple(criteria[i] for i in which),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    reward = CONFIG.build(3, 2)
    figures = reward.fit(pairs(), generator=make(0))
    return reward, figures


def make(seed):
    return torch.Generator().manual_seed(seed)


def test_each_criterion_learns_from_its_own_answers(fitted):
    reward, figures = fitted
    assert figures["train/accuracy"] > 0.9
    left, fast = (
        part.segment_return(of_two([-1, 1, 0, 0], [0, 0, -1, 1])) for part in reward.parts
    )
    assert left[1] - left[0] > 3 * abs(left[3] - left[2])
    assert fast[3] - fast[2] > 3 * abs(fast[1] - fast[0])


def test_much_of_one_does_not_pay_for_little_of_the_other(fitted):
    reward, _ = fitted
    both, all_of_one = reward.segment_return(of_two([0.4, 1.0], [0.4, -0.6]))
    assert both > all_of_one
    # One reward for all answers pays for the sum of the two.
    union = PART.build(3, 2)
    union.fit(pairs(), generator=make(0))
    same = union.segment_return(of_two([0.4, 1.0], [0.4, -0.6]))
    assert both - all_of_one > 2 * (same[0] - same[1])


def test_what_nobody_decided_counts_for_nothing():
    reward = CONFIG.build(3, 2)
    reward.fit(pairs(ties=True), generator=make(0))
    assert reward.known.tolist() == [True, False]
    low, high = reward.segment_return(of_two([0, 0], [-1, 1]))
    assert low == pytest.approx(high, abs=0.5 * abs(low))
    segments = of_two(np.linspace(-1, 1, 5), 0.3)
    assert reward.rewards(segments).sum(axis=1) == pytest.approx(
        reward.segment_return(segments), abs=1e-5
    )


def test_rewards_add_up_to_the_return(fitted):
    reward, _ = fitted
    segments = of_two(np.linspace(-1, 1, 7), np.linspace(1, -0.5, 7))
    assert reward.rewards(segments).sum(axis=1) == pytest.approx(
        reward.segment_return(segments), abs=1e-5
    )


def test_answers_by_another_criterion_are_refused():
    with pytest.raises(ValueError) as error:
        CONFIG.build(3, 2).fit(pairs(("left", "slow")), generator=make(0))
    assert str(error.value) == (
        "The pairs are by the criteria ['slow'], of which this reward knows nothing. It has "
        "['left', 'fast']."
    )


def test_the_same_criterion_twice_is_refused():
    with pytest.raises(ValueError, match="at least 1 name, each once"):
        replace(CONFIG, criteria=("left", "left"))
