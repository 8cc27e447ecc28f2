"""Timing for benchmarks: repeated runs, their median, and a yardstick of the machine."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def rate(work: Callable[[], int], *, seconds: float, min_runs: int = 5) -> list[float]:
    """Run `work` until `seconds` have gone; return items a second of each run, warm-up left out."""
    work()
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < min_runs or time.perf_counter() < end:
        start = time.perf_counter()
        items = work()
        rates.append(items / (time.perf_counter() - start))
    return rates


def figure(
    values: list[float], *, floor: float | None = None, at_most: bool = False
) -> dict[str, Any]:
    """Return the median with the quartiles as interval, and whether it reaches `floor`."""
    middle = statistics.median(values)
    low, _, high = (
        statistics.quantiles(values, n=4) if len(values) > 1 else (middle, middle, middle)
    )
    ok = None if floor is None else (middle <= floor if at_most else middle >= floor)
    return {"value": middle, "low": low, "high": high, "n": len(values), "floor": floor, "ok": ok}


def matmul_seconds(*, runs: int = 5) -> float:
    """Return the median seconds of a 1024 x 1024 x 1024 product: how fast the machine is now."""
    a = torch.ones(1024, 1024)
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        a @ a
        found.append(time.perf_counter() - start)
    return statistics.median(found)
