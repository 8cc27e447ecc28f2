"""What it costs to work beyond one process, one machine, and what fits in memory.

Each measurement is a function of `MEASUREMENTS`, which returns its figures and may leave a note.
"""

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from gymnasium.vector import AsyncVectorEnv

from benchmarks.scale_data import (
    NUM_STEPS,
    make_data,
    measure_info,
    measure_labels,
    measure_windows,
)
from benchmarks.scale_training import two_processes
from benchmarks.timing import figure, matmul_seconds
from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Group, Plan, record
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.ray_workers import RayConfig
from robopref.workers import Workers

ENV = "metaworld/button-press-topdown-v3"
MOST_OVERHEAD = 0.10
"""Of Ray, as a share of the time that work takes without it."""
LEAST_SPEEDUP = 1.7
"""Of two workers over one, on a machine of two cores."""
GROUP = 5
"""Episodes of a piece of work."""


def run(quick: bool) -> dict[str, Any]:
    """Return the figures; quick measures less of each."""
    before = matmul_seconds()
    load = os.getloadavg()[0]
    figures: dict[str, Any] = {}
    notes: list[str] = []
    for measure in MEASUREMENTS:
        print(measure.__name__, flush=True)
        figures |= measure(quick, notes)
    return {
        "figures": figures,
        "notes": notes,
        "load_before": load,
        "matmul_ms_before_after": [1e3 * before, 1e3 * matmul_seconds()],
    }


def ray_overhead(quick: bool, notes: list[str]) -> dict[str, Any]:
    """Record the same episodes by workers on Ray and by as many processes without it, in turn.

    Beside them Gymnasium's asynchronous vector environment takes as many steps in two processes,
    with actions that are given: nothing acts and nothing is recorded. Seconds of a core count all
    that belongs to Ray, and hardly depend on what else the machine does.
    """
    num_groups, num_runs = (8, 3) if quick else (24, 7)
    actor = ScriptedSpec(DetourRightConfig(), 0.5, 0.1)
    groups = Plan(ENV, actor, 0, "pool", GROUP * num_groups, group_size=GROUP).groups()
    ray, local, vector = "ray", "local", "vector env"
    runs: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for num in (1, 2):
        with (
            RayConfig(ray=True).build(num) as on_ray, Workers(num) as processes,
            _vector_env() as step,
        ):  # fmt: skip
            steps = record_steps(groups, on_ray)  # Starts all processes, builds all environments.
            record_steps(groups, processes)
            ways: dict[str, Callable[[], Any]] = {
                ray: partial(record_steps, groups, on_ray),
                local: partial(record_steps, groups, processes),
            }  # fmt: skip
            if num == 2:
                ways[vector] = partial(step, steps // 2)
            for _ in range(num_runs):
                for way, work in ways.items():
                    runs[way, num].append(_cost(work, of_ray=way == ray))
    seconds = {key: np.array(found)[:, 0] for key, found in runs.items()}
    core_s = {key: np.array(found)[:, 1] for key, found in runs.items()}
    notes.append(f"{GROUP * num_groups} episodes of {ENV}, {steps} steps, {num_runs} times in turn")
    over = partial(figure, floor=MOST_OVERHEAD, at_most=True)
    return {
        "ray_overhead_2_workers": over(list(seconds[ray, 2] / seconds[local, 2] - 1)),
        "ray_overhead_2_workers_core_s": over(list(core_s[ray, 2] / core_s[local, 2] - 1)),
        "ray_overhead_to_vector_env": over(list(seconds[ray, 2] / seconds[vector, 2] - 1)),
        "ray_speedup_2_workers": figure(
            list(seconds[ray, 1] / seconds[ray, 2]), floor=LEAST_SPEEDUP
        ),
        "steps_per_s_ray_2_workers": figure(list(steps / seconds[ray, 2])),
        "steps_per_s_local_2_workers": figure(list(steps / seconds[local, 2])),
        "steps_per_s_vector_env_2_processes": figure(list(steps / seconds[vector, 2])),
    }


def record_steps(groups: list[Group], workers: Workers) -> int:
    """Return how many steps the episodes have that workers record."""
    return sum(len(episode) for group in record(groups, workers) for episode in group)


def _cost(work: Callable[[], Any], *, of_ray: bool) -> tuple[float, float]:
    """Return the seconds that `work` took, and those of a core over all processes of its kind."""
    start, before = time.perf_counter(), _core_s(of_ray)
    work()
    return time.perf_counter() - start, _core_s(of_ray) - before


def _core_s(of_ray: bool) -> float:
    """Return what this process and its workers have used, and, of Ray, all that it runs."""
    here = psutil.Process()
    ours = {process.pid for process in multiprocessing.active_children()}
    times = [here.cpu_times()] + [
        child.cpu_times()
        for child in here.children(recursive=True)
        if (child.pid in ours) is not of_ray
    ]
    return float(sum(each.user + each.system for each in times))


@contextlib.contextmanager
def _vector_env() -> Iterator[Callable[[int], None]]:
    """Yield what takes so many steps in each of two environments, in processes of their own."""
    make: Any = partial(make_env, ENV)
    envs = AsyncVectorEnv([make] * 2, context="spawn")
    envs.reset(seed=0)
    space: Any = envs.action_space
    actions = np.random.default_rng(0).uniform(-1, 1, (500, *space.shape)).astype(np.float32)

    def step(num: int) -> None:
        for place in range(num):
            envs.step(actions[place % 500])

    step(100)
    yield step
    envs.close()


def data_and_labels(quick: bool, notes: list[str]) -> dict[str, Any]:
    """Make a large data set and a large store of labels, and time what is asked of them."""
    num_episodes, num_labels = (5_000, 20_000) if quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store, rate = make_data(folder / "data", num_episodes)
        notes.append(f"{num_episodes} episodes of {NUM_STEPS} steps, {num_labels} labels")
        return {
            "episodes_written_per_s": figure([rate]),
            **measure_info(folder / "data"),
            **measure_windows(store, folder / "windows"),
            **measure_labels(folder, store, num_labels),
        }


MEASUREMENTS: tuple[Callable[[bool, list[str]], dict[str, Any]], ...] = (
    ray_overhead, data_and_labels, two_processes,
)  # fmt: skip


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
