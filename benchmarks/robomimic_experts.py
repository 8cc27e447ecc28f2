"""Scripted experts of robomimic's tasks: how often they succeed, and in how many steps.

`robopref bench robomimic_experts --json benchmarks/results/robomimic_experts.json` makes the table
of docs/environments.md.
"""

from typing import Any

import numpy as np

from robopref.envs.make import make_env
from robopref.envs.robomimic_experts import JOBS
from robopref.envs.scripted import scripted_policy
from robopref.statistics import wilson

NOISES, NUM_STARTS, MAX_EPISODE_STEPS = (0.0, 0.3, 0.6), 20, 300


def run(quick: bool) -> dict[str, Any]:
    """Act from twenty starts with each amount of noise, or from two in the first task."""
    tasks, num_starts = (tuple(JOBS)[:1], 2) if quick else (tuple(JOBS), NUM_STARTS)
    figures: dict[str, Any] = {}
    for task in tasks:
        env: Any = make_env(f"robomimic/{task}", max_episode_steps=MAX_EPISODE_STEPS)
        for noise in NOISES:
            ends = [act_out(env, seed, noise) for seed in range(num_starts)]
            share = wilson(sum(success for success, _ in ends), num_starts)
            figures[f"{task}, noise {noise:g}, success"] = {
                "value": share.value, "low": share.low, "high": share.high, "n": num_starts,
            }  # fmt: skip
            steps = [steps for _, steps in ends]
            figures[f"{task}, noise {noise:g}, steps"] = {"value": np.mean(steps), "n": num_starts}
        env.close()
    return {"figures": figures, "max_episode_steps": MAX_EPISODE_STEPS}


def act_out(env: Any, seed: int, noise: float) -> tuple[bool, int]:
    """Return whether an episode succeeded, and its steps."""
    policy = scripted_policy(env, rng=np.random.default_rng(seed), noise=noise)
    obs, info = env.reset(seed=seed)
    steps, over = 0, False
    while not over:
        obs, _, terminated, truncated, info = env.step(policy.act(obs))
        steps, over = steps + 1, terminated or truncated
    return bool(info["success"]), steps
