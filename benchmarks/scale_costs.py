"""What work costs, in seconds and GB, by the episodes, labels, candidates or workers of it.

`python -m benchmarks.scale_docs` fits a law to each cost and puts what it predicts into the docs.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.cost_model import Measured, fit_law, terms_of
from benchmarks.scale import ENV, GROUP, record_steps
from benchmarks.scale_data import ACTION_DIM, STATE_DIM, make_data, measure_info, measure_store
from benchmarks.timing import matmul_seconds
from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan
from robopref.data.windows import WindowSampler
from robopref.envs.behaviours import DetourRightConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.seeding import make_generator
from robopref.types import STATE
from robopref.workers import Workers

Row = dict[str, Any]
EPISODES = (2_000, 10_000, 40_000, 100_000)
LABELS = (20_000, 100_000, 300_000, 1_000_000)
CANDIDATES = (8, 16, 32, 64, 128, 256)
REPEATS = 5
GROUPS = 24
QUICK = 20
"""A quick run has so many times fewer episodes and labels."""


def run(quick: bool) -> dict[str, Any]:
    """Return each measurement as a row of `costs`, and how well a law fits each as a figure."""
    before, load = matmul_seconds(), os.getloadavg()[0]
    share = QUICK if quick else 1
    repeats = 2 if quick else REPEATS
    cores = range(1, (os.cpu_count() or 1) + 1)
    rows = [
        *by_episodes([num // share for num in EPISODES], repeats),
        *by_labels([num // share for num in LABELS]),
        *by_candidates(CANDIDATES[:3] if quick else CANDIDATES, repeats),
        *by_workers(cores, repeats, GROUPS // 4 if quick else GROUPS),
    ]
    return {
        "figures": {name: {"value": law.error, "n": law.num} for name, law in laws(rows).items()},
        "costs": rows,
        "load_before": load,
        "matmul_ms_before_after": [1e3 * before, 1e3 * matmul_seconds()],
    }


def laws(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the law of each cost, by "task, unit by what"; none of what too little is known."""
    found = {}
    for task, what, of in dict.fromkeys((row["task"], row["what"], row["of"]) for row in rows):
        measured = [
            Measured(row["size"], row["cost"])
            for row in rows
            if (row["task"], row["what"], row["of"]) == (task, what, of)
        ]
        num_sizes = len({each.size for each in measured})
        terms = terms_of(of, what, num_sizes)
        if num_sizes > 1 and len(measured) > len(terms):
            found[f"{task}, {what} by {of}"] = fit_law(measured, terms)
    return found


def by_episodes(sizes: Sequence[int], repeats: int) -> list[Row]:
    """Write data sets, look at them by `robopref data info`, and lay out their windows."""
    rows: list[Row] = []
    for num in sizes:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            store, rate = make_data(folder / "data", num)
            rows.append(_row("write episodes", "episodes", num, "seconds", num / rate))
            rows.append(_row("write episodes", "episodes", num, "gb", store.size_mb() / 1e3))
            for _ in range(repeats):
                info = measure_info(folder / "data", repeats=1)
                for what, name in (("seconds", "data_info_s"), ("gb", "data_info_gb")):
                    rows.append(_row("data info", "episodes", num, what, info[name]["value"]))
            start = time.monotonic()
            WindowSampler(store, 2, 16, directory=folder / "windows")
            rows.append(
                _row("lay out windows", "episodes", num, "seconds", time.monotonic() - start)
            )
    return rows


def by_labels(sizes: Sequence[int]) -> list[Row]:
    """Fill stores of labels, and ask them what a labelling page asks."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store, _ = make_data(folder / "data", 500)
        for num in sizes:
            path = folder / f"{num}.sqlite"
            found = measure_store("sqlite", str(path), store, num)
            for call in ("next", "answer"):
                cost = found[f"sqlite_{call}_p95_ms"]["value"] / 1e3
                rows.append(_row(f"label: {call}, 95 %", "labels", num, "seconds", cost))
            rows.append(_row("store labels", "labels", num, "gb", path.stat().st_size / 1e9))
    return rows


def by_candidates(sizes: Sequence[int], repeats: int) -> list[Row]:
    """Let a policy, as large as by default, propose candidates for an observation."""
    policy = DiffusionPolicyConfig().build(
        {STATE: (STATE_DIM,)}, ACTION_DIM, make_generator(0, "weights")
    )
    policy.eval()
    obs = {STATE: torch.zeros(1, policy.n_obs_steps, STATE_DIM, device=policy.device)}
    rows: list[Row] = []
    for num in sizes:
        for repeat in range(repeats + 1):
            start = time.monotonic()
            with torch.no_grad():
                policy.sample(obs, num, make_generator(repeat, "candidates")).sum().item()
            if repeat:  # The first warms up.
                cost = time.monotonic() - start
                rows.append(_row("propose candidates", "candidates", num, "seconds", cost))
    return rows


def by_workers(sizes: Sequence[int], repeats: int, num_groups: int) -> list[Row]:
    """Record the same episodes by more and more workers, and look at what these hold."""
    actor = ScriptedSpec(DetourRightConfig(), 0.5, 0.1)
    groups = Plan(ENV, actor, 0, "pool", GROUP * num_groups, group_size=GROUP).groups()
    task = f"record {GROUP * num_groups} episodes"
    rows: list[Row] = []
    for num in sizes:
        with Workers(num) as workers:
            record_steps(groups, workers)  # Starts all processes, builds all environments.
            for _ in range(repeats):
                start = time.monotonic()
                record_steps(groups, workers)
                rows.append(_row(task, "workers", num, "seconds", time.monotonic() - start))
                children = psutil.Process().children(recursive=True)
                held = sum(child.memory_info().rss for child in children)
                own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1e3
                rows.append(_row(task, "workers", num, "gb", (held + own) / 1e9))
    return rows


def _row(task: str, of: str, size: int, what: str, cost: float) -> Row:
    return {"task": task, "of": of, "size": size, "what": what, "cost": cost}


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
