"""A toy with two ways to succeed: the first action goes left or right, the second follows."""

import uuid

import numpy as np
import pytest
import torch

from robopref.data.episode import Episode
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig
from robopref.types import STATE

SIDE = 0.6


@pytest.fixture(scope="session")
def make_toy_episode():
    """Return what makes an episode whose actions are (+-SIDE, half of state 0), nearly."""

    def make(index, rng, *, right, num_steps=25):
        state = rng.uniform(-1, 1, (num_steps + 1, 3)).astype(np.float32)
        action = 0.05 * rng.normal(size=(num_steps, 2)).astype(np.float32)
        action[:, 0] += SIDE if right else -SIDE
        action[:, 1] += 0.5 * state[:-1, 0]
        zeros = np.zeros(num_steps, np.float32)
        return Episode(
            str(uuid.UUID(int=index)), {STATE: state}, action.astype(np.float32), zeros,
            zeros == 0, True, False, "test/toy", "go left or right", index, 20,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def toy_episodes(make_toy_episode):
    rng = np.random.default_rng(0)
    return [make_toy_episode(i, rng, right=i % 2 == 0) for i in range(60)]


@pytest.fixture(scope="session")
def toy_policy(toy_episodes):
    """Return a policy that imitates both ways."""
    config = DiffusionPolicyConfig(
        chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=64, num_blocks=2)
    )
    trainer = TrainerConfig(
        num_steps=600, batch_size=128, learning_rate=3e-3, ema_decay=0.99,
    )  # fmt: skip
    policy, _ = train_policy(config, toy_episodes, trainer, validation_share=0)
    return policy


@pytest.fixture
def toy_obs():
    generator = torch.Generator().manual_seed(11)
    return {STATE: 2 * torch.rand(50, 2, 3, generator=generator) - 1}


@pytest.fixture
def share_right(toy_obs):
    """Return what measures how often a policy goes right, 40 times for each observation."""

    def measure(policy):
        chunks = policy.sample(toy_obs, 40, torch.Generator().manual_seed(5))
        return float((chunks[..., 0, 0] > 0).float().mean())

    return measure


class ToyScorer:
    """Likes chunks that go right; its two members agree on it more or less."""

    def score(self, obs, candidates):
        return candidates[..., 0].mean(-1) / SIDE

    def uncertainty(self, obs, candidates, /):
        return 0.1 * candidates[..., 0].std(-1)


@pytest.fixture(scope="session")
def toy_scorer():
    return ToyScorer()
