"""How fast sets are aligned, and how well, each beside POT in the same run.

Both sides of a ratio are timed in turn, so that other work on the machine slows both. Small sets:
100 starts between 64 segments and 64 others. Large sets: a cloud of points against a shuffled copy
of itself, of which the share of true matches is known.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import ot
import torch

from benchmarks.timing import figure, matmul_seconds
from robopref.distances import vector_distances
from robopref.quantised_transport import align_large_sets
from robopref.seeding import make_rng
from robopref.transport import Problem, SolverConfig, align_sets
from robopref.transport_starts import make_starts

NUM_STARTS, NUM_ITEMS, DIMENSIONS = 100, 64, 7
STRENGTH = 0.05
TURNS, LARGE_RUNS = 5, 3
PROXIMAL_STARTS = 1
"""Starts that POT's proximal solver is timed on; a hundred would take it half an hour."""
GRADIENT_STRENGTH, GRADIENT_STEPS = 0.005, 20
"""Of POT's projected gradient, which left to its own stopping rule goes on for many times as long.
With so few steps it is timed only: it does not yet find the matches of the larger sets."""
LARGEST_SHARE = 0.25
"""Of the time of POT's projected gradient."""


def run(quick: bool) -> dict[str, Any]:
    """Return the ratios; quick leaves out the larger sets and repeats nothing."""
    before = matmul_seconds()
    figures = _restarts(1 if quick else 3)
    notes = []
    for num in (300,) if quick else (1000, 2000):
        found, rows = _copies(num)
        figures |= found
        notes += rows
        print(num, rows, flush=True)
    return {
        "figures": figures,
        "rows": notes,
        "threads": torch.get_num_threads(),
        "matmul_ms_before_after": [1e3 * before, 1e3 * matmul_seconds()],
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _timed_in_turn(works: Sequence[Callable[[], Any]]) -> list[tuple[float, Any]]:
    """Return the median time of each, and what it finds; once before does not count."""
    taken = [[_timed(work) for work in works] for _ in range(TURNS + 1)][1:]
    return [(median(seconds for seconds, _ in of), of[-1][1]) for of in zip(*taken, strict=True)]


def _problem(rng: np.random.Generator, num: int) -> Problem:
    """Return two sets that resemble each other, as two tasks do."""
    first = rng.normal(size=(num, DIMENSIONS))
    second = first[rng.permutation(num)] + 0.3 * rng.normal(size=(num, DIMENSIONS))
    costs = []
    for x in (first, second):
        distances = vector_distances(torch.from_numpy(x), torch.from_numpy(x))
        costs.append((distances + distances.T) / 2 / distances.max())
    return Problem(*costs)


def _restarts(repeats: int) -> dict[str, Any]:
    """Time many starts at once beside a loop of POT over the same starts."""
    descent, scaled, gaps = [], [], []
    proximal = SolverConfig("proximal", strength=STRENGTH)
    for repeat in range(repeats):
        rng = make_rng(repeat, "transport-speed")
        problem = _problem(rng, NUM_ITEMS)
        starts = make_starts(problem, NUM_STARTS, rng)
        first, second = (x[0].numpy() for x in (problem.first, problem.second))
        mass = problem.first_mass.numpy()

        def loop(solve: Any, number: int, args: Any = (starts, first, second, mass)) -> list[float]:
            begin, c1, c2, p = args
            # The last are random ones; the first, by profiles, stands still at once.
            plans = [solve(c1, c2, p, p, G0=plan) for plan in begin[-number:].numpy()]
            return [_loss(c1, c2, plan) for plan in plans]

        (ours, found), (theirs, losses) = _timed_in_turn([
            lambda p=problem, s=starts: align_sets(p, s),
            lambda f=loop: f(ot.gromov.gromov_wasserstein, NUM_STARTS),
        ])  # fmt: skip
        descent.append(theirs / ours)
        gaps.append(float(found.loss.mean()) / float(np.mean(losses)))

        ours, found = _timed(lambda p=problem, s=starts: align_sets(p, s, proximal))
        theirs, losses = _timed(lambda f=loop: f(_pot_proximal, PROXIMAL_STARTS))
        scaled.append(theirs / PROXIMAL_STARTS * NUM_STARTS / ours)
        few = float(found.loss[-PROXIMAL_STARTS:].mean())
        gaps.append(few / float(np.mean(losses)))
        print("restarts", descent, scaled, gaps, flush=True)
    return {
        "100 starts, faster than a loop of conditional gradients": figure(descent, floor=2.0),
        "100 starts, faster than a loop of the proximal method": figure(scaled, floor=100.0),
        "mean loss over POT's, conditional gradient": figure(gaps[::2], floor=1.001, at_most=True),
        "mean loss over POT's, proximal": figure(gaps[1::2], floor=1.001, at_most=True),
    }


def _pot_proximal(first: Any, second: Any, p: Any, q: Any, *, G0: Any) -> Any:
    return ot.gromov.entropic_gromov_wasserstein(
        first, second, p, q, epsilon=STRENGTH, solver="PPA", G0=G0
    )


def _loss(first: np.ndarray, second: np.ndarray, plan: np.ndarray) -> float:
    p, q = plan.sum(1), plan.sum(0)
    constant = p @ first**2 @ p + q @ second**2 @ q
    return float(constant - 2 * np.sum((first @ plan @ second) * plan))


def _copies(num: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Time the alignment of a cloud with a shuffled copy of itself."""
    rng = make_rng(num, "transport-copies")
    x = rng.normal(size=(num, DIMENSIONS))
    order = rng.permutation(num)
    y = x[order]
    first, second = (torch.from_numpy(points) for points in (x, y))
    distances = vector_distances(first, first).numpy()
    c1 = (distances + distances.T) / 2 / distances.max()
    c2, mass = c1[np.ix_(order, order)], np.full(num, 1 / num)

    def solve_ours() -> np.ndarray:
        problem = Problem(torch.from_numpy(c1), torch.from_numpy(c2))
        start = make_starts(problem, 1, make_rng(num, "start"))
        return align_sets(problem, start).plan[0].numpy()

    def solve_low_rank() -> np.ndarray:
        return ot.gromov.lowrank_gromov_wasserstein_samples(x, y, reg=0, rank=10)[:2]

    ways: dict[str, Callable[[], Any]] = {
        "ours": solve_ours,
        "ours, quantised": lambda: align_large_sets(first, second, rng).toarray(),
        "POT, conditional gradient": lambda: ot.gromov.gromov_wasserstein(c1, c2, mass, mass),
        "POT, projected gradient": lambda: ot.gromov.entropic_gromov_wasserstein(
            c1, c2, mass, mass, epsilon=GRADIENT_STRENGTH, solver="PGD", max_iter=GRADIENT_STEPS
        ),
        "POT, low rank": solve_low_rank,
    }
    rows = []
    for name, solve in ways.items():
        runs = [_timed(solve) for _ in range(LARGE_RUNS)]
        seconds, plan = median(took for took, _ in runs), runs[-1][1]
        if isinstance(plan, tuple):
            rank = plan[0].sum(0)
            plan = plan[0] / np.maximum(rank, 1e-300) @ plan[1].T
        matches = float((plan.argmax(0) == order).mean())
        rows.append({"items": num, "method": name, "seconds": seconds, "matches": matches})
        print(rows[-1], flush=True)
    took = {row["method"]: row for row in rows}
    share = took["ours"]["seconds"] / took["POT, projected gradient"]["seconds"]
    return {
        f"{num} items, share of true matches": figure([took["ours"]["matches"]], floor=1.0),
        f"{num} items, time over POT's projected gradient": figure(
            [share], floor=LARGEST_SHARE, at_most=True
        ),
    }, rows
