"""Segments of Meta-World tasks with true answers, for the transfer benchmark; kept in `runs/`."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robopref.align.collect import Workers, open_or_create
from robopref.align.recipes import MixedRecipeConfig, RecipePlan, collect_recipe
from robopref.data.store import EpisodeStore
from robopref.envs.features import GOAL_FEATURES
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
NUM_EPISODES, MAX_STEPS, LENGTH, NUM_SEGMENTS = 48, 150, 50, 64


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


def load_task(task: str, seed: int, *, goals: bool = True, runs: Path = RUNS) -> Labelled:
    """Return a task's segments, recorded first where they are missing.

    Args:
        task: A task of Meta-World.
        seed: Decides the episodes and the segments.
        goals: Whether features of the goal are among the task-agnostic ones.
        runs: Where recordings are kept.
    """
    store = _record(task, seed, runs)
    rng = make_rng(seed, "transfer", task)
    lengths = {row.episode_id: row.length for row in store.rows}
    segments = sample_segments(lengths, LENGTH, NUM_SEGMENTS, rng)
    made = make_task(task, store, segments, left_out=() if goals else GOAL_FEATURES)
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


def _record(task: str, seed: int, runs: Path) -> EpisodeStore:
    env = f"metaworld/{task}"
    store = open_or_create(runs / f"{task}-{seed}", env)
    if len(store) < NUM_EPISODES:
        plan = RecipePlan(env, MixedRecipeConfig(), NUM_EPISODES, seed, MAX_STEPS)
        with Workers(0) as workers:
            collect_recipe(plan, store, workers)
    return store
