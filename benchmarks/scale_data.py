"""How a data set of 100,000 episodes and a store of 1,000,000 labels behave.

Episodes are windows of random walks of the size of Meta-World's observations and actions, written
as any recorder writes them; labels are rows of the real tables. What is timed are whole commands,
and the calls that a training or a labelling page makes.
"""

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.label_data import CRITERION, fill
from benchmarks.postgresql import find_programs, make_database, running_server
from benchmarks.timing import figure
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.data.windows import WindowSampler
from robopref.labeling.answers import Answers
from robopref.labeling.assignment import Assignment
from robopref.labeling.config import LabelConfig
from robopref.preferences.preference import Preference
from robopref.preferences.ranking import Ranking
from robopref.preferences.store import PreferenceStore
from robopref.seeding import make_rng
from robopref.types import STATE

FPS = 20.0
NUM_STEPS, STATE_DIM, ACTION_DIM = 60, 39, 4
TASKS = 10
BATCH = 256
SAMPLE_S = 5.0
CALLS = 200
"""How often each call to the labels is timed."""
INFO = """
import re, sys, time
from pathlib import Path
start = time.monotonic()
from robopref.cli import main
sys.argv = ["robopref", "data", "info", "--data", sys.argv[1]]
status = main()
seconds = time.monotonic() - start
most_kb = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(seconds, int(most_kb) / 1e6, file=sys.stderr)
sys.exit(status)
"""
"""Prints how long it took [s] and the most memory it held [GB], since it began itself: what
`getrusage` says counts the process that started it."""


def make_data(folder: Path, num_episodes: int) -> tuple[EpisodeStore, float]:
    """Return a data set of `num_episodes` episodes, and how many were written a second."""
    start = time.monotonic()
    store = EpisodeStore.create(folder, fps=FPS)
    store.add_all(_episodes(num_episodes))
    return store, num_episodes / (time.monotonic() - start)


def _episodes(num: int) -> Iterator[Episode]:
    rng = make_rng(0, "scale")
    walk = np.cumsum(rng.normal(size=(10_000, STATE_DIM)).astype(np.float32) * 0.01, axis=0)
    names = random.Random(0)
    for number in range(num):
        start = int(rng.integers(len(walk) - NUM_STEPS - 1))
        state = walk[start : start + NUM_STEPS + 1]
        yield Episode(
            id=str(uuid.UUID(int=names.getrandbits(128), version=4)), obs={STATE: state},
            action=np.diff(state[:, :ACTION_DIM], axis=0), reward=state[1:, 0].copy(),
            success=state[1:, 0] > 0, terminated=False, truncated=True, env="metaworld/reach-v3",
            task=f"reach {number % TASKS}", seed=number, fps=FPS,
            metadata={"name": "scale", "start_set": "pool"},
        )  # fmt: skip


def measure_info(folder: Path, repeats: int = 3) -> dict[str, Any]:
    """Return the time [s] and memory [GB] of `robopref data info`, of a process of its own."""
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", INFO, str(folder)], capture_output=True, text=True, check=True
        )
        found.append([float(word) for word in done.stderr.split()[-2:]])
    seconds, memory = np.array(found).T
    return {
        "data_info_s": figure(seconds.tolist(), floor=5.0, at_most=True),
        "data_info_gb": figure(memory.tolist(), floor=1.0, at_most=True),
    }


def measure_windows(store: EpisodeStore, folder: Path) -> dict[str, Any]:
    """Return how long windows take to lay out, and how many random ones are cut a second then."""
    start = time.monotonic()
    sampler = WindowSampler(store, 2, 16, directory=folder)
    laid_out = time.monotonic() - start
    rng = make_rng(0, "windows")
    rates: list[float] = []
    end = time.monotonic() + SAMPLE_S
    sampler.gather(np.arange(0, len(sampler), 64))  # Warm.
    while time.monotonic() < end:
        batches = rng.integers(len(sampler), size=(64, BATCH))
        start = time.monotonic()
        for batch in batches:
            sampler.gather(batch)
        rates.append(batches.size / (time.monotonic() - start))
    rate = np.quantile(rates, (0.5, 0.05, 0.95))
    return {
        "windows_laid_out_s": {"value": laid_out, "n": 1},
        "windows_per_s": {
            "value": rate[0], "low": rate[1], "high": rate[2], "n": len(rates),
            "floor": 100_000, "ok": bool(rate[0] >= 100_000),
        },
    }  # fmt: skip


def measure_labels(folder: Path, episodes: EpisodeStore, num_labels: int) -> dict[str, Any]:
    """Return the times of what a labelling page asks of its store, on both databases [ms].

    PostgreSQL is left out where no server is installed.
    """
    figures = measure_store("sqlite", str(folder / "preferences.sqlite"), episodes, num_labels)
    programs = find_programs()
    if programs is not None:
        with running_server(programs) as server:
            location = make_database(server)
            figures |= measure_store("postgresql", location, episodes, num_labels)
    return figures


def measure_store(
    name: str, location: str, episodes: EpisodeStore, num_labels: int
) -> dict[str, Any]:
    """Return the times of one store, which is filled first."""
    start = time.monotonic()
    fill(location, episodes, num_labels=num_labels, num_open=CALLS)
    filled = time.monotonic() - start
    times: dict[str, list[float]] = {"next": [], "answer": [], "query": [], "count": []}

    def timed(call: str, work: Any) -> Any:
        begun = time.monotonic()
        found = work()
        times[call].append(1e3 * (time.monotonic() - begun))
        return found

    with PreferenceStore(location) as store:
        config = LabelConfig(gold_every=0, repeat_every=0)
        assignment = Assignment(store.database, config, rng=make_rng(0, "shown"))
        answers = Answers(store.database, assignment)
        for number in range(CALLS):
            annotator = f"now-{number % 5}"
            assigned = timed("next", lambda a=annotator: assignment.next(a, [CRITERION]))
            timed("query", lambda q=assigned.query.id: store.query(q))
            preference = Preference(
                str(uuid.uuid4()), assigned.query, Ranking.prefer(number % 2), annotator=annotator,
                criterion=CRITERION,
            )  # fmt: skip
            timed("answer", lambda p=preference: answers.answer(p))
            timed("count", lambda a=annotator: len(store.pending(a, CRITERION, limit=1)))
    return {f"{name}_filled_s": {"value": filled, "n": 1}} | {
        f"{name}_{call}_p95_ms": _p95(values) for call, values in times.items()
    }


def _p95(values: list[float]) -> dict[str, Any]:
    middle, high = np.quantile(values, (0.5, 0.95))
    return {
        "value": high, "low": middle, "high": max(values), "n": len(values), "floor": 20.0,
        "ok": bool(high <= 20.0),
    }  # fmt: skip
