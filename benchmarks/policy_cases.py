"""What the benchmark of policies from carried labels tries: tasks, rewards, seeds, time limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CANDIDATES = (
    "button-press-v3", "faucet-close-v3", "window-open-v3", "door-close-v3", "drawer-open-v3",
    "faucet-open-v3", "plate-slide-v3", "door-open-v3", "sweep-into-v3", "handle-pull-side-v3",
    "door-unlock-v3", "lever-pull-v3", "coffee-pull-v3",
)  # fmt: skip
NUM_TASKS = 4
"""At least."""
LIMITS = (60, 80, 100, 150)
"""Steps within which a test may have to succeed. Imitation of data of which a quarter is good
dawdles and arrives at last: the screening says how much time is too little for that."""
NUM_EPISODES = 160
NUMBERS_OF_UPDATES = (1000, 3000, 10_000)
UPDATES_TASKS = ("drawer-open-v3", "window-open-v3")
NUM_UPDATES = 10_000
"""Fixed by the stage `updates`: with fewer the recorded reward makes fewer tests succeed."""
SCREENING_SEED = 100
"""No seed of what is reported."""
TRUE, LABELLED, CARRIED = "recorded reward", "true labels", "carried labels"
LEARNED = (LABELLED, CARRIED)
WITH_ACTIONS = {f"{name}, actions too": name for name in LEARNED}
"""The same labels, and a reward that sees actions as well as observations: how much that costs."""
CONTROLS = ("zero", "negated", "random", "cloning")
FAILING = ("zero", "negated", "cloning")
"""What must not solve a task, for it to tell rewards apart."""
SEEDS, CONTROL_SEEDS = range(5), range(2)
STAGES = ("updates", "screening", "final")
Member = tuple[str, int]
"""What a member learns by, and its seed."""


@dataclass(frozen=True)
class Job:
    """One batched training, and the evaluation of all its members."""

    stage: str
    task: str
    num_updates: int
    members: tuple[Member, ...]
    num_episodes: int = NUM_EPISODES

    @property
    def key(self) -> str:
        """Return what tells this job from all others."""
        return f"{self.stage}|{self.task}|{self.num_updates} updates"


def plan(stage: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Job]:
    """Yield the jobs of a stage; which tasks the last one has is known after the screening."""
    if stage == "updates":
        two = tuple((TRUE, SCREENING_SEED + i) for i in range(2))
        for task in UPDATES_TASKS:
            for number in NUMBERS_OF_UPDATES:
                yield Job(stage, task, number, two)
    elif stage == "screening":
        tried = (TRUE, "zero", "negated", "cloning")
        for task in CANDIDATES:
            yield Job(stage, task, NUM_UPDATES, tuple((name, SCREENING_SEED) for name in tried))
    else:
        for task in chosen_tasks(rows):
            yield Job(stage, task, NUM_UPDATES, all_members(SEEDS, CONTROL_SEEDS))


def chosen_tasks(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the tasks in which it takes the right reward to succeed, and within what limit.

    The longest limit within which the recorded reward makes half of the tests succeed, and what
    must not solve the task makes half as many succeed at most.
    """
    found = {}
    for row in rows:
        if row["stage"] == "screening":
            rates = {name: np.mean(of, axis=0) for name, of in row["success"].items()}
            others = np.max([rates[name] for name in FAILING], axis=0)
            good = (rates[TRUE] >= 0.5) & (others <= rates[TRUE] / 2)
            if good.any():
                found[row["task"]] = LIMITS[int(np.flatnonzero(good)[-1])]
    return {task: found[task] for task in CANDIDATES if task in found}


def all_members(seeds: Sequence[int], control_seeds: Sequence[int]) -> tuple[Member, ...]:
    """Return rewards learned from labels with each seed, and what bounds them with fewer."""
    serious = [(name, seed) for name in LEARNED for seed in seeds]
    bounds = (TRUE, *WITH_ACTIONS, *CONTROLS)
    return (*serious, *((name, seed) for name in bounds for seed in control_seeds))
