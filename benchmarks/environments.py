"""Meta-World's styles by task (success, behaviour shown), and the adapter's speed.

`robopref bench environments --json benchmarks/results/environments.json` makes the tables of
docs/environments.md.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robopref.envs import BEHAVIOURS
from robopref.envs.make import make_env
from robopref.envs.scripted import scripted_policy
from robopref.envs.styles import Style
from robopref.types import STATE

TASKS = (
    "button-press-topdown-v3",
    "door-close-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "faucet-close-v3",
    "push-v3",
    "reach-v3",
    "window-close-v3",
    "window-open-v3",
)
BEHAVIOUR_NAMES = ("detour-right", "approach-high", "fast", "jerky", "keep-away")
"""Each opposite has the same two styles and the same measure with another sign."""
NOISE = 0.05
NO_REWARD = np.zeros(0, np.float32)
"""The behaviours measured here look at the path only."""
MAX_EPISODE_STEPS = 250


def run(quick: bool) -> dict[str, Any]:
    """Act out both styles of each behaviour in each task; time the adapter."""
    tasks, seeds = (TASKS[:1], 3) if quick else (TASKS, 20)
    rows = [row for task in tasks for row in measure_task(task, seeds)]
    return {"figures": measure_speed(), "seeds": seeds, "noise": NOISE, "styles": rows}


def measure_task(task: str, seeds: int) -> list[dict[str, Any]]:
    """Return one row for each behaviour and style in `task`."""
    env: Any = make_env(f"metaworld/{task}", max_episode_steps=MAX_EPISODE_STEPS)
    rows = []
    for name in BEHAVIOUR_NAMES:
        behaviour = BEHAVIOURS.config_class(name)()
        for role, style in zip(("shows it", "does not"), behaviour.styles(), strict=True):
            episodes = [act_out(env, style, seed) for seed in range(seeds)]
            measures = [
                behaviour.measure(states, actions, NO_REWARD) for states, actions, _ in episodes
            ]
            rows.append(
                {
                    "task": task,
                    "behaviour": name,
                    "style": style.name,
                    "role": role,
                    "success": float(np.mean([success for *_, success in episodes])),
                    "shows": float(np.mean([behaviour.shows(value) for value in measures])),
                    "mean_steps": float(np.mean([len(actions) for _, actions, _ in episodes])),
                    "measure_min": min(measures),
                    "measure_max": max(measures),
                }
            )
            print(rows[-1], flush=True)
    env.close()
    return rows


def act_out(env: Any, style: Style, seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return states (T + 1, Do), actions (T, Da) and success of an episode in a style."""
    policy = scripted_policy(env, style, np.random.default_rng(seed), noise=NOISE)
    obs, info = env.reset(seed=seed)
    states, actions, done = [obs[STATE]], [], False
    while not done:
        actions.append(policy.act(obs))
        obs, _, terminated, truncated, info = env.step(actions[-1])
        states.append(obs[STATE])
        done = terminated or truncated
    return np.stack(states), np.stack(actions), bool(info["success"])


def measure_speed() -> dict[str, Any]:
    """Return how fast the adapter is in one process, and pictures beside MuJoCo's defaults."""
    began = time.perf_counter()
    make_env("metaworld/button-press-topdown-v3").close()
    figures: dict[str, Any] = {"first_build_s": time.perf_counter() - began}
    began = time.perf_counter()
    env: Any = make_env("metaworld/button-press-topdown-v3")
    figures["build_s"] = time.perf_counter() - began
    env.reset(seed=0)
    action = np.zeros(4, np.float32)
    figures["resets_per_s"] = rate(lambda: env.reset(seed=1), 100)
    figures["steps_per_s"] = rate(lambda: env.step(action), 450)
    figures["get_state_per_s"] = rate(env.get_state, 2000)
    state = env.get_state()
    figures["set_state_per_s"] = rate(lambda: env.set_state(state), 2000)
    ours = rate(lambda: env.render_states(state.step[None], state.episode, width=96, height=96))
    theirs = rate(_default_picture())
    figures["pictures_per_s_96px"] = ours
    figures["pictures_per_s_96px_default_settings"] = theirs
    figures["pictures_ratio"] = {"value": ours / theirs, "floor": 5.0, "ok": ours >= 5 * theirs}
    env.close()
    return figures


def _default_picture() -> Callable[[], Any]:
    """Return a call that draws the same scene with MuJoCo's default settings."""
    import mujoco
    from metaworld.env_dict import ENV_CLS_MAP

    raw = ENV_CLS_MAP["button-press-topdown-v3"]()
    renderer = mujoco.Renderer(raw.model, 96, 96)

    def draw() -> np.ndarray:
        mujoco.mj_forward(raw.model, raw.data)
        renderer.update_scene(raw.data)
        picture: np.ndarray = renderer.render()
        return picture

    return draw


def rate(call: Callable[[], Any], times: int = 60) -> float:
    """Return how many times a second `call` can be made."""
    call()
    began = time.perf_counter()
    for _ in range(times):
        call()
    return times / (time.perf_counter() - began)
