import numpy as np
import pytest
import torch

from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE, SegmentBatch


def one_segment(length, generator_seed=0):
    rng = np.random.default_rng(generator_seed)
    return SegmentBatch(
        {STATE: rng.standard_normal((1, length, 5)).astype(np.float32)},
        rng.standard_normal((1, length, 2)).astype(np.float32),
        np.ones((1, length), bool),
    )


def small(n_action_steps=3, **options):
    return MLPRewardConfig(
        num_members=4, hidden_sizes=(8, 8), n_action_steps=n_action_steps, **options
    ).build(5, 2)


def test_the_return_is_the_sum_of_the_scores_of_its_decisions():
    # The same number from both protocols: what is trained on segments is what chooses candidates.
    reward, segment = small(), one_segment(6)
    score = reward.score(
        {STATE: torch.from_numpy(segment.obs[STATE][0, ::3])[:, None]},
        torch.from_numpy(segment.action.reshape(2, 1, 3, 2)),
    )
    assert reward.segment_return(segment)[0] == pytest.approx(score.sum().item(), abs=1e-6)


def test_steps_of_a_decision_share_its_reward_evenly():
    rewards = small().rewards(one_segment(6))[0]
    assert rewards[0] == rewards[1] == rewards[2] != rewards[3]
    assert rewards[3] == rewards[4] == rewards[5]


def test_a_partial_last_decision_counts_for_its_share_with_its_action_repeated():
    reward, segment = small(), one_segment(4)
    chunk = np.repeat(segment.action[:, 3:], 3, axis=1)[:, None]
    score = reward.score(
        {STATE: torch.from_numpy(segment.obs[STATE][:, 3:])}, torch.from_numpy(chunk)
    )
    assert reward.rewards(segment)[0, 3] == pytest.approx(score.item() / 3, abs=1e-6)


def test_one_action_step_gives_a_markovian_reward_of_each_step():
    reward, segment = small(n_action_steps=1), one_segment(5)
    rewards = reward.rewards(segment)[0]
    for step in range(5):
        alone = SegmentBatch(
            {STATE: segment.obs[STATE][:, step : step + 1]},
            segment.action[:, step : step + 1],
            np.ones((1, 1), bool),
        )
        assert reward.rewards(alone)[0, 0] == pytest.approx(rewards[step], abs=1e-6)


def test_rewards_of_decisions_are_bounded():
    reward, segment = small(n_action_steps=1), one_segment(50)
    with torch.no_grad():
        for parameter in reward.parameters():
            parameter.mul_(100)
    assert np.abs(reward.member_rewards(segment)).max() <= 1


def test_without_actions_the_observations_at_decisions_alone_count():
    reward, segment = small(use_action=False), one_segment(6)
    other = SegmentBatch(segment.obs, segment.action + 1, segment.mask)
    assert np.array_equal(reward.rewards(other), reward.rewards(segment))
    between = segment.obs[STATE].copy()
    between[:, 1] += 1
    assert np.array_equal(
        reward.rewards(SegmentBatch({STATE: between}, segment.action, segment.mask)),
        reward.rewards(segment),
    )
    between[:, 3] += 1
    changed = reward.rewards(SegmentBatch({STATE: between}, segment.action, segment.mask))
    assert (changed != reward.rewards(segment)).tolist() == [[False] * 3 + [True] * 3]


def test_without_actions_there_is_no_way_to_rank_candidates():
    reward = small(use_action=False)
    assert reward.action_scorer_ways() == ()
    with pytest.raises(ValueError) as error:
        reward.score({STATE: torch.zeros(1, 1, 5)}, torch.zeros(1, 2, 3, 2))
    assert str(error.value) == (
        "A reward with `use_action` off judges no actions: all candidates of a state are worth the "
        "same to it. Fit one with `use_action` on."
    )


def test_candidates_are_judged_by_the_newest_observation_and_the_executed_actions(generator):
    reward = small()
    obs = torch.randn(2, 3, 5, generator=generator)
    candidates = torch.randn(2, 4, 6, 2, generator=generator)
    before = reward.score({STATE: obs}, candidates)
    obs[:, :-1] += 1
    candidates[:, :, 3:] += 1
    assert torch.equal(reward.score({STATE: obs}, candidates), before)
    obs[:, -1] += 1
    assert not torch.equal(reward.score({STATE: obs}, candidates), before)


def test_uncertainty_is_the_members_deviation_and_zero_for_one_member(generator):
    reward, segment = small(), one_segment(6)
    obs = {STATE: torch.randn(2, 1, 5, generator=generator)}
    candidates = torch.randn(2, 4, 3, 2, generator=generator)
    assert np.array_equal(reward.uncertainty(segment), reward.member_rewards(segment).std(axis=0))
    torch.testing.assert_close(
        reward.uncertainty(obs, candidates),
        reward.candidate_scores(obs, candidates).std(0, correction=0).detach(),
    )
    alone = MLPRewardConfig(num_members=1).build(5, 2)
    assert (alone.uncertainty(segment) == 0).all()


def test_members_of_a_batch_are_the_members_alone():
    # Evaluated in parts and as a whole, the numbers are the same.
    reward = small()
    rng = np.random.default_rng(0)
    segments = SegmentBatch(
        {STATE: rng.standard_normal((900, 50, 5)).astype(np.float32)},
        rng.standard_normal((900, 50, 2)).astype(np.float32),
        np.ones((900, 50), bool),
    )
    together = reward.member_returns(segments)
    assert reward.member_returns(segments[700:703]) == pytest.approx(together[:, 700:703], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_members": 0}, "`num_members` must be at least 1, got 0."),
        ({"n_action_steps": 0}, "`n_action_steps` must be at least 1, got 0."),
        ({"hidden_sizes": (64, 0)}, "`hidden_sizes` must be at least 1, got 0."),
    ],
)
def test_config_checks_its_ranges(options, message):
    with pytest.raises(ValueError) as error:
        MLPRewardConfig(**options)
    assert str(error.value) == message


def test_a_chunk_shorter_than_what_is_executed_is_refused():
    with pytest.raises(ValueError) as error:
        small().score({STATE: torch.zeros(1, 1, 5)}, torch.zeros(1, 2, 2, 2))
    assert str(error.value) == (
        "`candidates` must hold chunks of at least `n_action_steps` (=3) actions, got 2."
    )


def test_candidates_of_another_robot_are_refused():
    with pytest.raises(ValueError) as error:
        small().score({STATE: torch.zeros(1, 1, 5)}, torch.zeros(1, 2, 3, 7))
    assert str(error.value) == (
        "This reward was built for observations of size 5 and actions of size 2, got 5 and 7. "
        "Use the data it was trained for, or train another one."
    )
    with pytest.raises(ValueError) as error:
        small().score({"observation.images.front": torch.zeros(1, 1, 5)}, torch.zeros(1, 2, 3, 2))
    assert str(error.value) == (
        "`obs` must hold 'observation.state', got ['observation.images.front']."
    )
