"""Synthetic segments whose preferences follow a known linear reward."""

import numpy as np
import pytest

from robopref.preferences.preference import PairwiseView
from robopref.types import STATE, SegmentBatch

OBS_DIM = 5
ACTION_DIM = 2


@pytest.fixture
def make_segments():
    """Return `make(num, length=12, seed=0)`, segments of ragged length."""

    def make(num, length=12, seed=0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(max(1, length // 2), length + 1, num)
        return SegmentBatch(
            {STATE: rng.standard_normal((num, length, OBS_DIM)).astype(np.float32)},
            rng.standard_normal((num, length, ACTION_DIM)).astype(np.float32),
            np.arange(length) < lengths[:, None],
        )

    return make


def linear_reward(segments):
    """Return 0.4 times the first action less 0.3 times the second observation, (B, L)."""
    rewards = 0.4 * segments.action[..., 0] - 0.3 * segments.obs[STATE][..., 1]
    return np.where(segments.mask, rewards, 0).astype(np.float32)


@pytest.fixture
def make_pairs(make_segments):
    """Return `make(num, length=12, seed=0, tie=0.1)`, pairs of two segments each."""

    def make(num, length=12, seed=0, tie=0.1):
        segments = make_segments(2 * num, length, seed)
        returns = linear_reward(segments).sum(axis=1)
        a, b = np.arange(0, 2 * num, 2), np.arange(1, 2 * num, 2)
        gap = returns[b] - returns[a]
        prefers_b = np.where(np.abs(gap) < tie, 0.5, gap > 0).astype(np.float32)
        names = tuple(f"episode-{i}" for i in range(2 * num))
        return PairwiseView(segments, names, a, b, prefers_b, np.ones(num, np.float32))

    return make
