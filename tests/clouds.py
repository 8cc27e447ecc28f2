"""A toy of primitives on point clouds: bring the small heap to the large one."""

import numpy as np
import torch

from robopref.preferences.candidates import CandidateView
from robopref.types import POINTS

NUM_POINTS = 96
SHAPES = {POINTS: (NUM_POINTS, 3)}
ACTION_DIM = 6


def make_heaps(rng, num):
    """Return clouds (num, P, 3), where the small heaps are (num, 3), and where the large ones."""
    middle = np.concatenate([rng.uniform(-0.3, 0.3, (num, 2)), np.zeros((num, 1))], axis=1)
    angle = rng.uniform(-np.pi, np.pi, num)
    away = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    small, large = middle + 0.2 * away, middle
    size = NUM_POINTS // 4
    clouds = np.repeat(large[:, None], NUM_POINTS, axis=1)
    clouds[:, :size] = small[:, None]
    spread = np.where(np.arange(NUM_POINTS) < size, 0.008, 0.03)[:, None]
    clouds = clouds + spread * rng.normal(size=clouds.shape)
    clouds[..., 2] = np.abs(clouds[..., 2])
    return clouds.astype(np.float32), small.astype(np.float32), large.astype(np.float32)


def make_batch(rng, num, spread_m=0.02):
    """Return clouds (num, 1, P, 3) and good primitives (num, 1, 6): from small to large."""
    clouds, small, large = make_heaps(rng, num)
    action = np.concatenate([small, large], axis=1)
    action = action + rng.normal(0, spread_m, action.shape)
    return torch.from_numpy(clouds)[:, None], torch.from_numpy(action).float()[:, None]


def badness(action, small, large):
    """Return how far primitives (..., 6) are from the good one, the mean over both points [m]."""
    wanted = np.concatenate([small, large], axis=-1)
    return np.linalg.norm((action - wanted).reshape(*action.shape[:-1], 2, 3), axis=-1).mean(-1)


def make_rankings(rng, num, num_candidates=5, *, ranked=None):
    """Return rankings of random primitives, the nearer to the good one the better.

    Args:
        rng: Draws them.
        num: How many.
        num_candidates: Of each.
        ranked: How many are put in an order, the best ones; all by default.
    """
    clouds, small, large = make_heaps(rng, num)
    good = np.concatenate([small, large], axis=1)[:, None]
    candidates = good + rng.normal(0, 0.12, (num, num_candidates, 6))
    bad = badness(candidates, small[:, None], large[:, None])
    levels = (-bad).argsort(axis=1).argsort(axis=1).astype(np.float32)
    if ranked is not None:
        levels = np.maximum(levels - (num_candidates - ranked) + 1, 0)
    return CandidateView(
        {POINTS: clouds}, candidates.astype(np.float32)[:, :, None], levels,
        tuple(f"episode {i // 4}" for i in range(num)),
    )  # fmt: skip
