"""Episodes of mixed quality that several benchmarks are made from; kept in `runs/`."""

from pathlib import Path

from robopref.align.collect import Workers, open_or_create
from robopref.align.recipes import MixedRecipeConfig, RecipePlan, collect_recipe
from robopref.data.store import EpisodeStore

NUM_EPISODES = 48
MAX_STEPS = {"metaworld": 150, "robomimic": 250}
"""The experts of robomimic are slower."""


def record(task: str, seed: int, runs: Path, *, family: str = "metaworld") -> EpisodeStore:
    """Return episodes of a task of Meta-World or robomimic, recorded first where missing."""
    env = f"{family}/{task}"
    store = open_or_create(runs / f"{task}-{seed}", env)
    if len(store) < NUM_EPISODES:
        plan = RecipePlan(env, MixedRecipeConfig(), NUM_EPISODES, seed, MAX_STEPS[family])
        with Workers(0) as workers:
            collect_recipe(plan, store, workers)
    return store
