"""Planar tasks: experts of every quality (success, behaviour shown), steps and pictures a second.

`robopref bench planar --json benchmarks/results/planar.json` makes the table and the picture of
docs/environments.md.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import NO_REWARD, NOISE, act_out, rate
from robopref.envs.make import make_env
from robopref.envs.planar.behaviours import KeepOutConfig, TogetherConfig
from robopref.envs.planar.hands import HANDS
from robopref.envs.planar.styles import QUALITIES, quality_style
from robopref.envs.scripted import scripted_policy

BEHAVIOURS: dict[str, Any] = {"avoid": KeepOutConfig(), "group": TogetherConfig()}
PICTURE = Path("docs/images/planar-tasks.png")
ROWS = (
    ("avoid-medium-v0", "expert", 1),
    ("avoid-short-v0", "other-way", 2),
    ("group-long-v0", "expert", 3),
    ("group-gripper-v0", "other-way", 4),
)
"""Task, quality and seed of each row of the picture."""
COLUMNS, SIZE_PX, GAP_PX = 9, 132, 5


def run(quick: bool) -> dict[str, Any]:
    """Act out every quality with every hand; time the environment; draw the picture."""
    hands, seeds = (["short"], 3) if quick else (list(HANDS), 20)
    rows = [_measure(kind, hand, quality, seeds)
            for kind in BEHAVIOURS for hand in hands for quality in QUALITIES]  # fmt: skip
    if not quick:
        draw_strips(PICTURE)
    return {"figures": measure_speed(), "seeds": seeds, "noise": NOISE, "qualities": rows}


def _measure(kind: str, hand: str, quality: str, seeds: int) -> dict[str, Any]:
    env: Any = make_env(f"planar/{kind}-{hand}-v0")
    behaviour = BEHAVIOURS[kind]
    episodes = [act_out(env, quality_style(kind, quality), seed) for seed in range(seeds)]
    measures = [behaviour.measure(states, actions, NO_REWARD) for states, actions, _ in episodes]
    row = {
        "task": env.env_id,
        "quality": quality,
        "success": float(np.mean([success for *_, success in episodes])),
        "shows": float(np.mean([behaviour.shows(value) for value in measures])),
        "mean_steps": float(np.mean([len(actions) for _, actions, _ in episodes])),
        "measure_mean": float(np.mean(measures)),
    }
    print(row, flush=True)
    return row


def measure_speed() -> dict[str, Any]:
    """Return how fast one environment is in one process, for the hand with most bodies."""
    env: Any = make_env("planar/avoid-gripper-v0", max_episode_steps=10_000)
    env.reset(seed=0)
    action = np.array([0.1, 0.3, 0.1, 1.0], np.float32)
    figures: dict[str, Any] = {"steps_per_s": rate(lambda: env.step(action), 500)}
    state = env.get_state()
    states = np.repeat(state.step[None], 20, axis=0)
    figures["set_state_per_s"] = rate(lambda: env.set_state(state), 2000)
    figures["resets_per_s"] = rate(lambda: env.reset(seed=1), 500)
    reached = rate(lambda: env.render_states(states, state.episode, width=112, height=112), 20)
    reached *= len(states)
    figures["pictures_per_s_112px"] = {"value": reached, "floor": 200.0, "ok": reached >= 200.0}
    return figures


def draw_strips(path: Path) -> None:
    """Write one row of pictures for each of `ROWS`, from its start to its end."""
    from PIL import Image

    rows = np.concatenate([_strip(*row) for row in ROWS])[:-GAP_PX, :-GAP_PX]
    picture = Image.fromarray(rows).quantize(96, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


def _strip(task: str, quality: str, seed: int) -> np.ndarray:
    env: Any = make_env(f"planar/{task}")
    policy = scripted_policy(env, quality_style(task.partition("-")[0], quality))
    policy.reset(np.random.default_rng(seed))
    obs, _ = env.reset(seed=seed)
    states, done = [env.get_state()], False
    while not done:
        obs, _, terminated, truncated, _ = env.step(policy.act(obs))
        states.append(env.get_state())
        done = terminated or truncated
    chosen = np.linspace(0, len(states) - 1, COLUMNS).round().astype(int)
    steps = np.stack([states[place].step for place in chosen])
    pictures = env.render_states(steps, states[0].episode, width=SIZE_PX, height=SIZE_PX)
    framed = np.full((COLUMNS, SIZE_PX + GAP_PX, SIZE_PX + GAP_PX, 3), 255, np.uint8)
    framed[:, :SIZE_PX, :SIZE_PX] = pictures
    return np.concatenate(list(framed), axis=1)
