"""Labels of a task's segments, true or carried from other tasks, and rewards learned from them.

Shapes: N segments, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.robust_rewards import Judged
from benchmarks.transfer_data import SIX, Labelled, load_task, order
from robopref.preferences.preference import PairwiseView
from robopref.rewards.mlp import MLPReward, MLPRewardConfig
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments
from robopref.seeding import make_generator
from robopref.types import STATE, SegmentBatch

BATCH = 5
"""Queries that are asked at once."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Pairs of the segments of `Judged`, and what is said about them.

    Args:
        a: First segment of each pair.
        b: Second segment.
        prefers_b: How probably the second is preferred.
    """

    a: np.ndarray
    b: np.ndarray
    prefers_b: np.ndarray

    def accuracy(self, judged: Judged) -> float:
        """Return the share of pairs decided by the truth that the labels order as it does."""
        truth = np.sign(judged.returns[self.b] - judged.returns[self.a])
        says = np.sign(self.prefers_b - 0.5)
        return float((1 + says * truth)[truth != 0].mean() / 2)


def true_labels(judged: Judged, a: np.ndarray, b: np.ndarray) -> Labels:
    """Return the pairs as the true returns order them; ties count as such."""
    return Labels(a, b, order(judged.returns, a, b))


def load_sources(task: str, seed: int) -> list[TaskSegments]:
    """Return the answered segments of the six tasks, of which `task` is none."""
    return [load_task(name, seed).task for name in SIX if name != task]


def carry_labels(
    sources: Sequence[TaskSegments], target: TaskSegments, rng: np.random.Generator
) -> Labels:
    """Return labels of all pairs of the target, by the sources' answers and its own."""
    preferred = SharedFeaturesConfig().build().transfer(sources, target, rng).preferred
    a, b = np.triu_indices(len(target), 1)
    return Labels(a, b, preferred[b, a])


def ask(
    sources: Sequence[TaskSegments], target: TaskSegments, truth: Judged | Labelled, num: int
) -> TaskSegments:
    """Return the target with true answers to the queries that tell most, a few at a time."""
    method = SharedFeaturesConfig().build()
    while len(target.a) < num:
        a, b = method.choose_queries(sources, target, min(BATCH, num - len(target.a))).T
        target = target.with_answers(a, b, order(truth.returns, a, b))
    return target


def learn_reward(
    segments: SegmentBatch, judged: Judged, labels: Labels, seed: int, config: MLPRewardConfig
) -> MLPReward:
    """Return a reward that was fitted to labels.

    Args:
        segments: What the segments of `judged` are.
        judged: Which episodes they are of.
        labels: What is said about them.
        seed: Draws the weights and the batches.
        config: Which reward.
    """
    view = PairwiseView(
        segments=segments,
        episode_ids=tuple(segment.episode_id for segment in judged.segments),
        a=np.asarray(labels.a, np.int64),
        b=np.asarray(labels.b, np.int64),
        prefers_b=np.asarray(labels.prefers_b, np.float32),
        weight=np.ones(len(labels.a), np.float32),
    )
    reward = config.build(segments.obs[STATE].shape[-1], segments.action.shape[-1])
    reward.fit(view, generator=make_generator(seed, "carried-labels"))
    return reward
