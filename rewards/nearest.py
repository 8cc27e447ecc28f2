"""Transfer by the nearest source segment: the simplest thing that could work."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robopref.rewards.pearl import carry_labels
from robopref.rewards.transfer import TaskSegments, Transferred, check_tasks


@dataclass(frozen=True)
class NearestConfig:
    """Each target segment takes the labels of the source segment that looks most like it."""

    def build(self) -> "Nearest":
        """Return the method."""
        return Nearest()


class Nearest:
    """Compares steps as they are, scaled by the source; both tasks need the same ones."""

    def transfer(
        self, sources: Sequence[TaskSegments], target: TaskSegments, rng: np.random.Generator
    ) -> Transferred:
        """Return how probably each target segment is preferred to each other one.

        Raises:
            DataError: Sources and target do not fit, or nothing was decided.
        """
        check_tasks(sources, target, same_features=False, same_steps=True)
        plans = [self._plan(source, target) for source in sources]
        votes, weights = [], []
        for plan, source in zip(plans, sources, strict=True):
            labels, weight = carry_labels(plan, *source.preference_matrix())
            votes.append(labels)
            weights.append(weight)
        total = np.sum(weights, axis=0)
        preferred = (np.array(votes) * weights).sum(axis=0) / np.maximum(total, 1e-12)
        return Transferred(
            np.where(total > 0, preferred, 0.5), total / len(sources), np.array(votes), plans[0]
        )

    def _plan(self, source: TaskSegments, target: TaskSegments) -> np.ndarray:
        scale = np.maximum(source.steps.std(axis=(0, 1)), 1e-6)
        x, y = ((task.steps / scale).reshape(len(task), -1) for task in (source, target))
        distance = (x**2).sum(axis=1)[:, None] - 2 * x @ y.T
        plan = np.zeros(distance.shape)
        plan[distance.argmin(axis=0), np.arange(len(y))] = 1 / len(y)
        return plan
