import numpy as np
import pytest
import torch
from scipy import stats

from robopref.protocols import ActionScorer, RewardModel
from robopref.rewards.measure import measure_pairs
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.trivial import (
    NegatedReward,
    RandomRewardConfig,
    TrueReward,
    ZeroRewardConfig,
)
from robopref.types import STATE


def linear(segments):
    return 0.4 * segments.action[..., 0] - 0.3 * segments.obs[STATE][..., 1]


def test_the_true_reward_orders_every_pair_and_its_negation_none(make_pairs):
    pairs = make_pairs(50)
    true = TrueReward(linear)
    assert isinstance(true, RewardModel)
    assert measure_pairs(true, pairs)["accuracy"] == 1.0
    assert measure_pairs(NegatedReward(true), pairs)["accuracy"] == 0.0


def test_the_zero_reward_is_undecided(make_pairs):
    zero = ZeroRewardConfig().build(5, 2)
    measured = measure_pairs(zero, make_pairs(50))
    assert measured["accuracy"] == 0.5
    assert measured["loss"] == pytest.approx(np.log(2))


def test_the_random_reward_is_uniform_noise_that_repeats(make_segments, rng):
    reward = RandomRewardConfig().build(5, 2)
    segments = make_segments(400)
    rewards = reward.rewards(segments)
    values = rewards[segments.mask]
    assert np.array_equal(reward.rewards(segments), rewards)
    assert np.array_equal(reward.rewards(segments[5:9]), rewards[5:9])
    assert stats.kstest(values, "uniform", args=(-1, 2)).pvalue > 0.01
    segments.action[...] += 1e-5 * rng.standard_normal(segments.action.shape).astype(np.float32)
    changed = reward.rewards(segments)[segments.mask]
    assert abs(np.corrcoef(values, changed)[0, 1]) < 0.05


def test_random_rewards_of_two_generators_differ(make_segments):
    segments = make_segments(20)
    first, second = (
        RandomRewardConfig().build(5, 2, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 1)
    )
    assert not np.array_equal(first.rewards(segments), second.rewards(segments))


def test_negation_turns_rewards_and_scores_and_keeps_the_spread(make_segments, generator):
    reward = MLPRewardConfig(hidden_sizes=(8,), n_action_steps=3).build(5, 2)
    negated = NegatedReward(reward)
    assert isinstance(negated, RewardModel)
    segments = make_segments(4)
    assert np.array_equal(negated.rewards(segments), -reward.rewards(segments))
    assert np.array_equal(negated.segment_return(segments), -reward.segment_return(segments))
    assert np.array_equal(negated.uncertainty(segments), reward.uncertainty(segments))
    obs = {STATE: torch.randn(2, 1, 5, generator=generator)}
    candidates = torch.randn(2, 4, 3, 2, generator=generator)
    scorer = negated.as_action_scorer("chunk")
    assert isinstance(scorer, ActionScorer)
    assert torch.equal(scorer.score(obs, candidates), -reward.score(obs, candidates))
    assert torch.equal(scorer.uncertainty(obs, candidates), reward.uncertainty(obs, candidates))
    assert negated.action_scorer_ways() == ("chunk",)


def test_fitting_the_negated_reward_fits_the_other(make_pairs, generator):
    pairs = make_pairs(30)
    reward = MLPRewardConfig(hidden_sizes=(16,), n_action_steps=1).build(5, 2)
    figures = NegatedReward(reward).fit(pairs, generator=generator)
    assert figures["train/accuracy"] == measure_pairs(reward, pairs)["accuracy"] > 0.8


def test_the_true_reward_has_no_way_to_score_candidates(make_pairs, generator):
    true = TrueReward(linear)
    assert true.fit(make_pairs(9), generator=generator)["train/accuracy"] == 1.0
    with pytest.raises(ValueError) as error:
        true.as_action_scorer()
    assert str(error.value) == (
        "TrueReward cannot become an action scorer by 'chunk'. Ways that it has: []."
    )


def test_a_function_of_another_shape_is_refused(make_segments):
    with pytest.raises(ValueError) as error:
        TrueReward(lambda segments: segments.action).rewards(make_segments(3))
    assert str(error.value) == ("`function` must return rewards of shape (3, 12), got (3, 12, 2).")
