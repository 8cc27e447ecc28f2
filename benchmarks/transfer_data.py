"""Segments of simulated tasks with true answers, for the transfer benchmark; kept in `runs/`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.mixed_data import record
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.envs.features import GOAL_FEATURES, TASK_FEATURES
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

    def without_goals(self) -> "Labelled":
        """Return the same without the features that the goal is part of."""
        kept = [name not in GOAL_FEATURES for name in TASK_FEATURES]
        task = replace(self.task, features=self.task.features[:, kept])
        return Labelled(task, self.returns)


Judge = Callable[[Episode, Segment], float]
"""Says how good a segment is."""


def sum_of_rewards(episode: Episode, segment: Segment) -> float:
    """Return the true return of a segment."""
    rewards = episode.reward[segment.start : segment.start + segment.length]
    return float(rewards.sum(dtype=np.float64))


def load_task(
    task: str,
    seed: int,
    *,
    judge: Judge = sum_of_rewards,
    family: str = "metaworld",
    runs: Path = RUNS,
) -> Labelled:
    """Return a task's segments, recorded first where they are missing.

    Args:
        task: A task of Meta-World, or of another family.
        seed: Decides the episodes and the segments.
        judge: Says which segments are better.
        family: What the task is of: "metaworld" or "robomimic".
        runs: Where recordings are kept.
    """
    store = record(task, seed, runs, family=family)
    lengths = {row.episode_id: row.length for row in store.rows}
    segments = draw_segments(lengths, make_rng(seed, "transfer", task))
    made = make_task(task, store, segments)
    return answer_all(made, [judge(store.episode(s.episode_id), s) for s in segments])


def draw_segments(num_steps: Mapping[str, int], rng: np.random.Generator) -> list[Segment]:
    """Return segments of all episodes in turn, so that each kind of behaviour has its share.

    Successful episodes are cut off and short: were every window equally likely, most would be of
    random actions.
    """
    ids = [episode for episode, steps in num_steps.items() if steps >= LENGTH]
    rounds = -(-NUM_SEGMENTS // len(ids))
    order = np.concatenate([rng.permutation(len(ids)) for _ in range(rounds)])[:NUM_SEGMENTS]
    return [
        Segment(ids[i], int(rng.integers(num_steps[ids[i]] - LENGTH + 1)), LENGTH) for i in order
    ]


def answer_all(task: TaskSegments, values: Sequence[float]) -> Labelled:
    """Return the task with all pairs answered that the values decide."""
    returns = np.array(values)
    a, b = np.triu_indices(len(returns), 1)
    decided = returns[a] != returns[b]
    a, b = a[decided], b[decided]
    return Labelled(task.with_answers(a, b, order(returns, a, b)), returns)


def order(returns: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return `prefers_b` of pairs as the true returns order them; ties count as such."""
    prefers_b: np.ndarray = 0.5 + 0.5 * np.sign(returns[b] - returns[a])
    return prefers_b
