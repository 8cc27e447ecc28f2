"""Deformable tasks: demonstrators from held-back starts, how fast trials are, whether physics hold.

`robopref bench deformable_physics --json benchmarks/results/deformable_physics.json` makes the
figures of docs/environments.md. Each finished part is one line of
benchmarks/results/deformable_physics.jsonl, which is not done again: it may be killed at any time.
After a change of the physics, delete that file. `python -m benchmarks.deformable_physics --parts
starts-rope --minutes 20` does a part.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result_lines import append_row, read_rows
from benchmarks.timing import matmul_seconds
from robopref.commands.bench import describe_commit
from robopref.envs.deformable.demonstrator import NUM_CHECKED, demonstrate
from robopref.envs.deformable.env import DeformableConfig, DeformableEnv
from robopref.envs.deformable.granular import HALF_AXES_M
from robopref.envs.deformable.rope import RADIUS_M as ROPE_RADIUS_M
from robopref.envs.deformable.simulation import UnstableSimulationError
from robopref.envs.deformable.trials import Trials
from robopref.envs.deformable.tshirt import RADIUS_M as SHIRT_RADIUS_M
from robopref.envs.deformable.tshirt import TShirt
from robopref.seeding import make_rng
from robopref.statistics import wilson
from robopref.workers import Workers

RESULTS = Path("benchmarks/results/deformable_physics.jsonl")
TASKS = {"rope": "rope-circle-v0", "granular": "granular-T-v0", "tshirt": "tshirt-flat-v0"}
OTHER_TASKS = ("rope-square-v0", "rope-S-v0", "granular-L-v0", "granular-line-v0")
FIRST_SEED = 200
"""Starts below were looked at while the rules were made."""
NUM_STARTS = {"rope": 50, "granular": 50, "tshirt": 50}
NUM_OTHER_STARTS = 20
FLOOR = 0.9
"""Share of the starts from which the demonstrator is to succeed."""
NUM_CANDIDATES = 8
TRIALS_S = {"rope": 2.0, "granular": 2.0, "tshirt": 30.0}
"""Longest time that all candidates from one state may take, on two cores [s]."""
NUM_PRIMITIVES, AT_ONCE = 1000, 20
RADIUS_M = {"rope": ROPE_RADIUS_M, "granular": HALF_AXES_M[2], "tshirt": SHIRT_RADIUS_M}
STRETCH = 1.06
"""The 95th percentile of the edges' stretch stays below this."""


def act_out(task: str, seed: int) -> dict[str, Any]:
    """Return how the demonstrator fares from a start."""
    env = DeformableConfig(task).build()
    env.reset(seed=seed)
    qualities, primitives, success = [env.quality()], [], False
    checked = NUM_CHECKED[task.split("-")[0]]
    while not success and not env.is_over:
        rng = make_rng(seed, "demonstrator", str(len(primitives)))
        _, info = demonstrate(env, rng, checked)
        qualities.append(info["quality"])
        primitives.append(info["primitive"])
        success = bool(info["success"])
    env.close()
    return {"success": success, "steps": len(primitives), "checked": checked,
            "qualities": np.round(qualities, 4).tolist(), "primitives": primitives}  # fmt: skip


def time_trials(task: str, seed: int) -> dict[str, Any]:
    """Return the seconds of all candidates from a start: of two processes, and of a core's work.

    What is beside it on the machine slows down the first, and hardly the second.
    """
    config = DeformableConfig(task)
    env = config.build()
    env.reset(seed=seed)
    state, actions = env.get_state(), env.propose(make_rng(seed, "candidates"), NUM_CANDIDATES)
    env.close()
    with Workers(2) as workers:
        trials = Trials(config, workers)
        trials.outcomes(state, actions[:2])  # The processes have to start.
        began = time.perf_counter()
        trials.outcomes(state, actions)
        seconds = time.perf_counter() - began
    trials = Trials(config)
    trials.outcomes(state, actions[:1])
    began = time.process_time()
    trials.outcomes(state, actions)
    core_s = time.process_time() - began
    return {"candidates": len(actions), "seconds": seconds, "core_s": core_s,
            "matmul_s": matmul_seconds()}  # fmt: skip


def act_at_random(task: str, seed: int) -> dict[str, Any]:
    """Return the worst that random primitives, one after the other from a start, did."""
    env = DeformableConfig(task, max_episode_steps=AT_ONCE).build()
    env.reset(seed=seed)
    rng, sim = make_rng(seed, "random"), env.task.sim
    counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
    stretch, crossings = [1.0], [0]
    if sim.model.nflexedge:
        sim.watch = lambda: stretch.append(float(np.percentile(sim.stretch, 95)))
    depths, lowest = [0.0], [np.inf]
    for _ in range(AT_ONCE):
        action = _random_action(env, rng)
        try:
            counts["touched"] += env.perform(action)["grasped"]
        except UnstableSimulationError:
            counts["unstable"] += 1
        counts["primitives"] += 1
        material = env.task.material()
        counts["not_finite"] += not np.isfinite(material).all()
        depths.append(sim.depth_m)
        lowest.append(float(material[:, 2].min()))
        if isinstance(env.task, TShirt):
            crossings.append(env.task.num_crossings())
    env.close()
    worst = {"stretch_p95": max(stretch), "depth_m": max(depths), "lowest_m": min(lowest)}
    return counts | worst | {"crossings": max(crossings)}


_COUNTED = ("primitives", "touched", "unstable", "not_finite")


def _random_action(env: DeformableEnv, rng: np.random.Generator) -> np.ndarray:
    """Return an action that begins at the material; half of those for a T-shirt end there too."""
    material = env.task.material()
    begin = material[rng.integers(len(material))].clip(-0.4, 0.4)
    end = np.append(rng.uniform(-0.3, 0.3, 2), rng.uniform(0.0, 0.05))
    if env.task.primitive == "fling" and rng.random() < 0.5:
        end = material[rng.integers(len(material))].clip(-0.4, 0.4)
    return np.concatenate([begin, end]).clip(-0.4, 0.4).astype(np.float32)


def parts() -> dict[str, list[tuple[str, int, Callable[[str, int], dict[str, Any]]]]]:
    """Return the work of each part: the task, the seed, and what is done with them."""
    found: dict[str, list[Any]] = {}
    for name, task in TASKS.items():
        seeds = range(FIRST_SEED, FIRST_SEED + NUM_STARTS[name])
        found[f"starts-{name}"] = [(task, seed, act_out) for seed in seeds]
        found[f"trials-{name}"] = [(task, seed, time_trials) for seed in range(3)]
        blocks = range(NUM_PRIMITIVES // AT_ONCE)
        found[f"random-{name}"] = [(task, seed, act_at_random) for seed in blocks]
    seeds = range(FIRST_SEED, FIRST_SEED + NUM_OTHER_STARTS)
    found["starts-other"] = [(task, seed, act_out) for task in OTHER_TASKS for seed in seeds]
    return found


def work(chosen: Sequence[str], minutes: float, results: Path = RESULTS) -> None:
    """Do what is left of some parts, and add a line for each start."""
    done = {(row["part"], row["task"], row["seed"]) for row in read_rows(results)}
    end, commit = time.monotonic() + 60 * minutes, describe_commit(Path.cwd())
    for part, task, seed, act in _left(chosen, done):
        if time.monotonic() > end:
            return
        row = {"part": part, "task": task, "seed": seed, **act(task, seed), "commit": commit}
        append_row(row, results)
        print(row, flush=True)


def _left(chosen: Sequence[str], done: set[tuple[str, str, int]]) -> Iterator[Any]:
    for part, jobs in parts().items():
        for task, seed, act in jobs:
            if part in chosen and (part, task, seed) not in done:
                yield part, task, seed, act


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of finished parts."""
    found: dict[str, Any] = {}
    for (kind, task), some in sorted(_grouped(rows).items()):
        name = task.split("-")[0]
        goal = FLOOR if task in TASKS.values() else None
        values = {
            "starts": partial(_of_starts, floor=goal),
            "trials": partial(_of_trials, limit_s=TRIALS_S[name]),
            "random": partial(_of_random, radius_m=RADIUS_M[name]),
        }[kind](some)
        found |= {f"{task}, {what}": value for what, value in values.items()}
    return found


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["part"].split("-")[0], row["task"]), []).append(row)
    return groups


def _of_starts(rows: Sequence[Mapping[str, Any]], floor: float | None) -> dict[str, Any]:
    share = wilson(sum(row["success"] for row in rows), len(rows))
    steps = [row["steps"] for row in rows]
    success = {"value": share.value, "low": share.low, "high": share.high, "n": len(rows)}
    if floor is not None:
        success |= {"floor": floor, "ok": share.value >= floor}
    return {"success of the demonstrator": success,
            "steps of the demonstrator": {"value": np.mean(steps), "n": len(rows)}}  # fmt: skip


def _of_trials(rows: Sequence[Mapping[str, Any]], limit_s: float) -> dict[str, Any]:
    seconds, core_s = (
        float(np.median([row[key] for row in rows])) for key in ("seconds", "core_s")
    )
    return {
        f"{NUM_CANDIDATES} candidates in two processes [s]": _at_most(seconds, limit_s, rows),
        f"{NUM_CANDIDATES} candidates, work of one core [s]": {"value": core_s, "n": len(rows)},
    }


def _of_random(rows: Sequence[Mapping[str, Any]], radius_m: float) -> dict[str, Any]:
    num = sum(row["primitives"] for row in rows)
    bad = sum(row["unstable"] + row["not_finite"] for row in rows)
    worst = {key: max(row[key] for row in rows) for key in ("depth_m", "stretch_p95")}
    found = {"random primitives": num,
             "random primitives, unstable or not finite": {"value": bad, "n": num},
             "random primitives, deepest contact at rest [m]":
                 _at_most(worst["depth_m"], radius_m, rows)}  # fmt: skip
    if any(row["crossings"] for row in rows):
        most = max(row["crossings"] for row in rows)
        found["random primitives, most edges through another layer at rest"] = most
    if worst["stretch_p95"] > 1:
        found["random primitives, greatest 95th percentile of the edges' stretch"] = _at_most(
            worst["stretch_p95"], STRETCH, rows
        )
    return found


def _at_most(value: float, limit: float, rows: Sequence[Any]) -> dict[str, Any]:
    return {"value": value, "n": len(rows), "floor": limit, "ok": value <= limit}


def run(quick: bool) -> dict[str, Any]:
    """Do all that is left, or take three starts of a rope and of almonds."""
    if not quick:
        work(list(parts()), np.inf)
        return {"figures": figures(read_rows(RESULTS))}
    rows = [
        {"part": "starts", "task": TASKS[name], "seed": seed, **act_out(TASKS[name], seed)}
        for name in ("rope", "granular")
        for seed in range(FIRST_SEED, FIRST_SEED + 3)
    ]
    return {"figures": figures(rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", choices=list(parts()), default=list(parts()))
    parser.add_argument("--minutes", type=float, default=np.inf)
    options = parser.parse_args()
    work(options.parts, options.minutes)
