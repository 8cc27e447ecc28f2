"""How fast entropic plans of 100 pairs of clips are found, beside POT's routes.

Costs are cosines between embedded frames: of clips that drift through the embedding, as videos do,
and of frames drawn independently, which is harder. All routes are timed in turns in the same run,
by the processor's time, since machines are shared. All stop at the same error in the masses, though
POT gives up after 1,000 iterations; its faster route is compared. Values are checked against
float64 in the log domain.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import ot.batch
import torch
from torch import Tensor

from benchmarks.timing import figure
from robopref.frame_costs import frame_costs
from robopref.seeding import make_generator
from robopref.sinkhorn import SinkhornConfig, transport

CASES = [(45, 0.05), (45, 0.01), (200, 0.05), (200, 0.01)]
FLOOR = 3.0
"""Times the speed of POT's best route."""
ERROR = 1e-5
"""Sum of the differences from the masses at which a route may stop."""
VALUE = 1e-4
"""Largest difference of a value from the reference."""
POT_ITERATIONS = 1000


def run(quick: bool) -> dict[str, Any]:
    """Time all routes in turns; return how many times POT's best speed ours is."""
    num, rounds = (20, 3) if quick else (100, 3)
    figures: dict[str, Any] = {}
    rows = []
    for kind in ("independent", "drifting"):
        for size, regularisation in CASES:
            row = _case(_costs(num, size, kind), regularisation, rounds)
            name = f"{kind}_{size}_{regularisation}"
            rows.append({"case": name} | row.pop("about"))
            figures[f"speedup_{name}"] = figure(row["ratios"], floor=FLOOR)
            figures[f"value_error_{name}"] = figure([row["value_error"]], floor=VALUE, at_most=True)
    return {
        "figures": figures, "routes": rows, "pairs": num, "threads": torch.get_num_threads(),
        "pot": ot.__version__, "error_at_most": ERROR, "pot_iterations": POT_ITERATIONS,
    }  # fmt: skip


def _costs(num: int, size: int, kind: str) -> Tensor:
    first, second = torch.randn(2, num, size, 32, generator=make_generator(0, kind, size))
    if kind == "drifting":
        first, second = first.cumsum(1), second.cumsum(1)
    return frame_costs(first, second)


def _case(cost: Tensor, regularisation: float, rounds: int) -> dict[str, Any]:
    config = SinkhornConfig(regularisation, tolerance=ERROR)
    routes: dict[str, Callable[[], Any]] = {
        "ours": lambda: transport(cost, config).plan,
        "pot_loop": lambda: _pot_loop(cost, regularisation),
        "pot_batch": lambda: _pot_batch(cost, regularisation),
    }
    plans = {name: route() for name, route in routes.items()}
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, route in routes.items():
            start = time.process_time()
            route()
            seconds[name].append(time.process_time() - start)
    best = min(("pot_loop", "pot_batch"), key=lambda name: statistics.median(seconds[name]))
    errors = {name: _error(plan) for name, plan in plans.items()}
    return {
        "ratios": [theirs / ours for theirs, ours in
                   zip(seconds[best], seconds["ours"], strict=True)],
        "value_error": _value_error(cost, plans["ours"], regularisation),
        "about": {
            "best_pot": best,
            "pairs_per_s": {n: len(cost) / statistics.median(s) for n, s in seconds.items()},
            "largest_error": errors,
        },
    }  # fmt: skip


def _pot_loop(cost: Tensor, regularisation: float) -> Tensor:
    size = cost.shape[1]
    # POT looks at the Euclidean norm of the difference, which is at most this times the sum.
    stop = ERROR / size**0.5
    plans = [
        ot.sinkhorn([], [], each, regularisation, numItermax=POT_ITERATIONS, stopThr=stop,
                    warn=False)
        for each in cost.double().numpy()
    ]  # fmt: skip
    return torch.from_numpy(np.stack(plans))


def _pot_batch(cost: Tensor, regularisation: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It says that it did not converge.
        found = ot.batch.solve_batch(
            cost,
            regularisation,
            max_iter=POT_ITERATIONS,
            tol=ERROR / cost.shape[1] ** 0.5,
            method="sinkhorn",
        )
    plan: Tensor = found.plan
    return plan


def _error(plan: Tensor) -> float:
    off = (plan.sum(1) - 1 / plan.shape[2]).abs().sum(1) + (
        plan.sum(2) - 1 / plan.shape[1]
    ).abs().sum(1)
    return float(off.max())


def _value_error(cost: Tensor, plan: Tensor, regularisation: float, num: int = 3) -> float:
    """Return how far values of a few plans are from those that POT finds in the log domain."""
    worst = 0.0
    for each, found in zip(cost[:num].double(), plan[:num].double(), strict=True):
        exact = ot.sinkhorn(
            [], [], each.numpy(), regularisation, method="sinkhorn_log", numItermax=5000,
            stopThr=1e-8, warn=False,
        )  # fmt: skip
        worst = max(worst, abs(float((found * each).sum()) - float((exact * each.numpy()).sum())))
    return worst
