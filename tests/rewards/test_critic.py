"""Tests for critic.py: what follows a chunk is learned, compared, and kept."""

import dataclasses
import uuid

import numpy as np
import pytest
import torch

from robopref.data.episode import Episode
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.selection import BestOfN, EnsembleScorer
from robopref.protocols import ActionScorer
from robopref.rewards.critic import CriticConfig, load_critic, load_scorer
from robopref.rewards.mlp import MLPRewardConfig
from robopref.trainer import TrainerConfig
from robopref.types import STATE

TRAINER = TrainerConfig(num_steps=300, batch_size=128, validation_interval=50, patience=4)
CONFIG = CriticConfig(num_members=2, hidden_sizes=(32,), discount=0.9, trainer=TRAINER)
POLICY = DiffusionPolicyConfig(
    chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=16, num_blocks=1)
)


def make_episode(index, rng, steps=30):
    """Return an episode whose reward is its action's first number, at the next step."""
    zeros = np.zeros(steps, np.float32)
    state = rng.uniform(-1, 1, (steps + 1, 3)).astype(np.float32)
    action = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    return Episode(
        str(uuid.UUID(int=index)), {STATE: state}, action, zeros, zeros > 0, False, True,
        "test/none", "none", index, 10,
    )  # fmt: skip


@pytest.fixture
def episodes(rng):
    return [make_episode(index, rng) for index in range(30)]


@pytest.fixture
def policy(episodes, generator):
    return POLICY.build({STATE: (3,)}, 2, generator).eval()


@pytest.fixture
def critic(policy):
    return CONFIG.of_policy(policy, torch.Generator().manual_seed(1))


def fit(critic, episodes):
    rewards = [np.concatenate([[0.0], e.action[:-1, 0]]) for e in episodes]
    return critic.fit(episodes, rewards, generator=torch.Generator().manual_seed(0))


def obs_of(num, generator):
    return {STATE: 2 * torch.rand(num, 2, 3, generator=generator) - 1}


def test_it_scores_candidates_by_what_follows_them(critic, episodes, generator):
    figures = fit(critic, episodes)
    assert figures["explained"] > 0.1  # The executed two of about ten that count; 0 knows nothing.
    obs = obs_of(40, generator)
    candidates = 2 * torch.rand(40, 8, 4, 2, generator=generator) - 1
    scores = critic.score(obs, candidates)
    truth = 0.9 * candidates[:, :, 0, 0] + 0.81 * candidates[:, :, 1, 0]
    assert np.corrcoef(scores.flatten(), truth.flatten())[0, 1] > 0.9
    later = candidates.clone()
    later[:, :, 2:] = 0  # Is not executed.
    assert torch.equal(critic.score(obs, later), scores)


def test_it_is_an_ensemble_that_best_of_n_chooses_by(critic, policy, episodes, generator):
    assert isinstance(critic, ActionScorer)
    assert isinstance(critic, EnsembleScorer)
    fit(critic, episodes)
    obs = obs_of(3, generator)
    chosen = BestOfN(policy, critic).select(obs, torch.Generator().manual_seed(0))
    members = critic.candidate_scores(obs, chosen.candidates)
    assert members.shape == (2, 3, 16)
    torch.testing.assert_close(members.mean(0), critic.score(obs, chosen.candidates))


def test_the_encoder_is_the_policys_and_stays_so(critic, policy, episodes):
    fit(critic, episodes)
    for name, value in policy.encoder.state_dict().items():
        assert torch.equal(critic.encoder.state_dict()[name], value)
    assert not any(p.requires_grad for p in critic.encoder.parameters())


def test_a_saved_critic_is_the_same_one_and_a_reward_scores_by_itself(
    critic, episodes, generator, tmp_path
):
    fit(critic, episodes)
    critic.save_pretrained(tmp_path / "critic")
    obs, candidates = obs_of(3, generator), torch.rand(3, 5, 4, 2, generator=generator)
    for loaded in (load_critic(tmp_path / "critic"), load_scorer(tmp_path / "critic")):
        assert torch.equal(loaded.score(obs, candidates), critic.score(obs, candidates))
    MLPRewardConfig(n_action_steps=2).build(3, 2).save_pretrained(tmp_path / "reward")
    assert load_scorer(tmp_path / "reward").score(obs, candidates).shape == (3, 5)


def test_equal_generators_give_equal_critics(policy, episodes):
    found = []
    for _ in range(2):
        critic = CONFIG.of_policy(policy, torch.Generator().manual_seed(1))
        fit(critic, episodes)
        found.append(torch.cat([p.flatten() for p in critic.members.parameters()]))
    assert torch.equal(*found)


def test_a_reward_for_each_step_is_asked_for(critic, episodes):
    with pytest.raises(ValueError) as error:
        critic.fit(episodes, [np.zeros(3)] * 30, generator=torch.Generator())
    assert str(error.value) == ("`rewards` must hold one number for each step of each episode.")
    with pytest.raises(ValueError):
        dataclasses.replace(CONFIG, discount=1.1)
