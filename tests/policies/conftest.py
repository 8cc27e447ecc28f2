"""A toy with two ways to succeed: the first action goes left or right, the second follows."""

import pytest
import torch

from benchmarks.two_ways import SIDE, clone, make_episode, make_episodes
from robopref.types import STATE

# A program for LeRobot's environment, which has what it imports.
collect_ignore = ["lerobot_checkpoints.py"]


@pytest.fixture(scope="session")
def make_toy_episode():
    return make_episode


@pytest.fixture(scope="session")
def toy_episodes():
    return make_episodes()


@pytest.fixture(scope="session")
def toy_policy(toy_episodes):
    return clone(toy_episodes)


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
