"""Episodes of mixed quality that several benchmarks are made from; kept in `runs/`."""

from pathlib import Path

from robopref.align.collect import Workers, open_or_create
from robopref.align.recipes import MixedRecipeConfig, RecipePlan, collect_recipe
from robopref.data.store import EpisodeStore

NUM_EPISODES, MAX_STEPS = 48, 150


def record(task: str, seed: int, runs: Path) -> EpisodeStore:
    """Return episodes of a Meta-World task, recorded first where they are missing."""
    env = f"metaworld/{task}"
    store = open_or_create(runs / f"{task}-{seed}", env)
    if len(store) < NUM_EPISODES:
        plan = RecipePlan(env, MixedRecipeConfig(), NUM_EPISODES, seed, MAX_STEPS)
        with Workers(0) as workers:
            collect_recipe(plan, store, workers)
    return store
