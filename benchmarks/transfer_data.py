"""Segments of Meta-World tasks with true answers, for the transfer benchmark; kept in `runs/`."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.mixed_data import record
from robopref.envs.features import GOAL_FEATURES, TASK_FEATURES
from robopref.preferences.pool import sample_segments
from robopref.rewards.transfer import TaskSegments
from robopref.seeding import make_rng
from robopref.transfer.tasks import make_task

SIX = (
    "button-press-v3", "faucet-close-v3", "window-open-v3", "door-close-v3", "drawer-open-v3",
    "sweep-into-v3",
)  # fmt: skip
"""Tasks that share one design of rewards."""
RUNS = Path("runs/bench-transfer")
LENGTH, NUM_SEGMENTS = 50, 64


@dataclass(frozen=True, eq=False)
class Labelled:
    """A task with the true order of its segments.

    Args:
        task: The segments, with all pairs answered that the truth decides.
        returns: True return of each segment.
    """

    task: TaskSegments
    returns: np.ndarray

    def unanswered(self) -> TaskSegments:
        """Return the segments with nothing known about them."""
        return TaskSegments(self.task.name, self.task.steps, self.task.features)

    def without_goals(self) -> "Labelled":
        """Return the same without the features that the goal is part of."""
        kept = [name not in GOAL_FEATURES for name in TASK_FEATURES]
        task = replace(self.task, features=self.task.features[:, kept])
        return Labelled(task, self.returns)

    def answer(self, known: TaskSegments, pairs: np.ndarray) -> TaskSegments:
        """Return `known` with the pairs answered as the truth is; ties count."""
        a, b = pairs.T
        prefers_b = 0.5 + 0.5 * np.sign(self.returns[b] - self.returns[a])
        return replace(
            known,
            a=np.concatenate([known.a, a]),
            b=np.concatenate([known.b, b]),
            prefers_b=np.concatenate([known.prefers_b, prefers_b]),
        )


def load_task(task: str, seed: int, *, runs: Path = RUNS) -> Labelled:
    """Return a task's segments, recorded first where they are missing.

    Args:
        task: A task of Meta-World.
        seed: Decides the episodes and the segments.
        runs: Where recordings are kept.
    """
    store = record(task, seed, runs)
    rng = make_rng(seed, "transfer", task)
    lengths = {row.episode_id: row.length for row in store.rows}
    segments = sample_segments(lengths, LENGTH, NUM_SEGMENTS, rng)
    made = make_task(task, store, segments)
    returns = np.array(
        [
            store.episode(s.episode_id).reward[s.start : s.start + s.length].sum(dtype=np.float64)
            for s in segments
        ]
    )
    a, b = np.triu_indices(len(segments), 1)
    decided = returns[a] != returns[b]
    unanswered = Labelled(made, returns)
    pairs = np.stack([a[decided], b[decided]], axis=1)
    return Labelled(unanswered.answer(made, pairs), returns)
