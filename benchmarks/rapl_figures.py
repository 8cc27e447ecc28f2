"""Figures and tables of the benchmark of visual rewards, from the lines of its finished runs.

Intervals are 95 % bootstrap intervals of the mean over runs: a case and test with a seed, of the
curves a seed with a share of mistakes. Methods are compared in the runs that both of them did.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.align_figures import Row, at_least, at_most, bootstrap, select
from benchmarks.rapl_cases import AVOID, CASES, FAITHFUL, FEW, LABELS, MANY, NOISE, PLUS, RLHF

METRICS = ("triplet", "kendall", "spearman", "within", "hard")
"""What is held to aims."""
SPOILED = ("reversed", "shuffled", "half")
COPIES = ("same", "other-speed", *SPOILED)
"""What becomes of a good clip in the unit table."""
CURVES = ("spearman", "within")
"""By what rankings are counted: ordering clips, and frames along a clip."""
NEVER = 2.0 * LABELS[-1]
"""Rankings that a curve counts with which never gets there: twice the most that were tried."""


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return a table of what was measured, and figures against their aims."""
    rows = [row for row in rows if row["stage"] != "search" and "scores" in row]
    figures: dict[str, Any] = {}
    for metric in METRICS:
        gain = _paired(rows, metric, (PLUS.name, FEW), (FAITHFUL.name, FEW))
        figures[f"{metric}: rapl-plus less rapl"] = at_least(bootstrap(gain), 0.0)
    for name in ("avoid", "group"):
        figures[f"within, {name}"] = at_least(_of_plus(rows, name, "within"), 0.80)
    for case in CASES:
        figures[f"spearman, {case.name}"] = at_least(_of_plus(rows, case.name, "spearman"), 0.85)
    for name in AVOID.others:
        figures[f"within, {name}"] = at_least(_of_plus(rows, name, "within"), 0.65)
    for metric in METRICS:
        figures[f"{metric} lost with 20 % noise"] = at_most(bootstrap(_lost(rows, metric)), 0.05)
    for copy in SPOILED:
        for method in (PLUS, FAITHFUL):
            worse = bootstrap(_copies_worse(rows, copy, method.name))
            name = f"{copy} below other speed, {method.name}"
            figures[name] = at_least(worse, 1.0) if method is PLUS else worse
    figures |= _against_more_labels(rows)
    for metric in CURVES:
        figures |= labels_needed(rows, metric)
    return {"figures": {k: v for k, v in figures.items() if v["n"]}, "table": table(rows)}


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the mean of every metric over seeds, by test, method, labels and noise."""
    keys = sorted(
        {(test, r["method"], r["labels"], r["noise"]) for r in rows for test in r["scores"]}
    )
    names = (*METRICS, "ramp", "own distance", *(f"copy {copy}" for copy in COPIES))
    return [
        {"test": test, "method": method, "labels": labels, "noise": noise}
        | {
            name: figure(rows, test, name, method=method, labels=labels, noise=noise)
            for name in names
        }
        for test, method, labels, noise in keys
    ]


def figure(rows: Sequence[Row], test: str, metric: str, **wanted: Any) -> dict[str, Any]:
    """Return the mean of a metric over the seeds of what is wanted."""
    found = [
        row["scores"][test].get(metric) for row in select(rows, **wanted) if test in row["scores"]
    ]
    return bootstrap(np.array(found, float))


def _of_plus(rows: Sequence[Row], test: str, metric: str) -> dict[str, Any]:
    return figure(rows, test, metric, method=PLUS.name, labels=FEW, noise=0.0)


def _by_run(rows: Iterable[Row], metric: str) -> dict[tuple[Any, ...], float]:
    return {
        (row["case"], test, row["seed"]): scores[metric]
        for row in rows for test, scores in row["scores"].items() if scores[metric] is not None
    }  # fmt: skip


def _paired(
    rows: Sequence[Row], metric: str, first: tuple[str, int], second: tuple[str, int]
) -> np.ndarray:
    """Return what one method with so many rankings has more than another with its own."""
    a, b = (
        _by_run(select(rows, method=method, labels=labels, noise=0.0), metric)
        for method, labels in (first, second)
    )
    return np.array([a[key] - b[key] for key in a if key in b], float)


def _lost(rows: Sequence[Row], metric: str) -> np.ndarray:
    """Return what RAPL++ loses at 20 labels when a fifth of them is wrong."""
    wanted = {"labels": FEW, "method": PLUS.name}
    right, wrong = (_by_run(select(rows, noise=noise, **wanted), metric) for noise in (0.0, 0.2))
    return np.array([right[key] - wrong[key] for key in right if key in wrong], float)


def _copies_worse(rows: Sequence[Row], copy: str, method: str) -> np.ndarray:
    """Return in which runs spoiled copies are worse on average than copies at another speed."""
    found = select(rows, method=method, labels=FEW, noise=0.0)
    bad, good = (_by_run(found, f"copy {name}") for name in (copy, "other-speed"))
    return np.array([bad[key] < good[key] for key in good], float)


def _against_more_labels(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what RAPL++ with 20 rankings has more than RLHF with 100, the published claim."""
    figures = {}
    for metric in CURVES:
        gain = _paired(rows, metric, (PLUS.name, FEW), (RLHF.name, MANY))
        name = f"{metric}: rapl-plus with {FEW} less visual-rlhf with {MANY}"
        figures[name] = at_least(bootstrap(gain), 0.0)
    return figures


def labels_needed(rows: Sequence[Row], metric: str) -> dict[str, Any]:
    """Return how many rankings each of the two needs on avoid for what RLHF gets from 100.

    The level is the mean of RLHF at 100 rankings with as many mistakes. A run counts with the
    fewest rankings, between the points of its curve, from which on the curve stays at the level.
    Runs of which a point is missing, of either method, are left out. The ratio is a geometric mean.
    """
    curves = {method: _curves(rows, metric, method) for method in (PLUS.name, RLHF.name)}
    both = sorted(set.intersection(*(set(of) for of in curves.values())))
    level = {
        noise: float(np.mean([curves[RLHF.name][run][LABELS.index(MANY)] for run in both
                              if run[0] == noise]))
        for noise in {run[0] for run in both}
    }  # fmt: skip
    needed = {
        method: np.array([first_at(of[run], level[run[0]]) for run in both])
        for method, of in curves.items()
    }
    figures = {}
    wanted = {"without mistakes": (0.0,), f"with up to {NOISE[-1]:.0%} mistakes": NOISE}
    for what, noises in wanted.items():
        of = np.array([run[0] in noises for run in both], bool)
        names = {method: values[of] for method, values in needed.items()}
        for method, values in names.items():
            figures[f"rankings for {metric} {what}, {method}"] = bootstrap(values)
        ratio = bootstrap(np.log(names[PLUS.name] / names[RLHF.name]))
        ratio |= {key: math.exp(ratio[key]) for key in ("value", "low", "high")}
        figures[f"ratio of rankings for {metric} {what}"] = at_most(ratio, 0.2)
    return figures


def _curves(rows: Sequence[Row], metric: str, method: str) -> dict[tuple[float, int], list[float]]:
    """Return what a method reaches on avoid with each number of rankings, by noise and seed."""
    found: dict[tuple[float, int], dict[int, float]] = {}
    for row in select(rows, case=AVOID.name, method=method):
        value = row["scores"][AVOID.name][metric]
        found.setdefault((row["noise"], row["seed"]), {})[row["labels"]] = value
    return {
        run: [of[labels] for labels in LABELS]
        for run, of in found.items()
        if of.keys() >= {*LABELS}
    }


def first_at(curve: Sequence[float], level: float) -> float:
    """Return from which number of rankings on a curve stays at a level; `NEVER` where it does not.

    Between two points it is a straight line.
    """
    below = np.flatnonzero(np.array(curve) < level)
    if not len(below):
        return float(LABELS[0])
    last = int(below[-1])
    if last == len(LABELS) - 1:
        return NEVER
    low, high = curve[last], curve[last + 1]
    share = (level - low) / (high - low)
    return float(LABELS[last] + share * (LABELS[last + 1] - LABELS[last]))
