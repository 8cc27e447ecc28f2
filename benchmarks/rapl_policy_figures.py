"""Figures and table of the policies that visual rewards aligned, from lines of finished runs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.align_figures import Row, at_least, bootstrap, select
from benchmarks.rapl_cases import (
    ALIGNMENTS,
    AS_PUBLISHED,
    DISTIL,
    PLUS,
    POLICY_CASES,
    RLHF,
    SELECT,
    SIMULATE,
)

ALLOWED = 0.9
"""Joint rate that is aimed at, as a share of what success allows."""


def summarise_policies(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of policies against their aims, and a table of what was measured.

    Success counts as no lower than the base's where the interval of the change holds 0.
    """
    figures: dict[str, Any] = {}
    for case in POLICY_CASES:
        found = of(rows, case.name, PLUS.name, DISTIL.name)
        share = bootstrap(np.array([share_of_success(row) for row in found], float))
        figures[f"joint over success, {case.name}"] = at_least(share, ALLOWED)
        change = bootstrap(np.array([success_change(row) for row in found], float))
        no_loss = {"floor": 0.0, "ok": bool(change["high"] >= 0.0)}
        figures[f"success less base, {case.name}"] = change | no_loss
        for name, other in (("visual-rlhf", (RLHF, DISTIL)), ("dpo", (PLUS, AS_PUBLISHED))):
            less = of(rows, case.name, other[0].name, other[1].name)
            figures[f"joint less that of {name}, {case.name}"] = _gain(found, less)
        tried = of(rows, case.name, PLUS.name, SIMULATE.name)
        chosen = of(rows, case.name, PLUS.name, SELECT.name)
        figures[f"critic's part of what simulating gains, {case.name}"] = _part(chosen, tried)
    return {"figures": {k: v for k, v in figures.items() if v["n"]}, "policies": table(rows)}


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a line for each case and use of a reward: rates before and after."""
    lines = []
    for case in POLICY_CASES:
        for reward, method in ALIGNMENTS:
            found = of(rows, case.name, reward.name, method.name)
            if not found:
                continue
            lines.append(
                {
                    "case": case.name, "reward": reward.name, "method": method.name,
                    **{
                        f"{when} {name}": bootstrap(
                            np.array([_rate(row, when, name) for row in found], float)
                        )
                        for when in ("base", "aligned") for name in ("success", "joint")
                    },
                    "preferred": bootstrap(
                        np.array([_rate(row, "aligned", "preferred") for row in found], float)
                    ),
                    "orders pairs": bootstrap(
                        np.array([row["pool_accuracy"] for row in found], float)
                    ),
                }
            )  # fmt: skip
    return lines


def of(rows: Sequence[Row], case: str, reward: str, method: str) -> list[Row]:
    """Return the lines of one use of a reward."""
    policies = select(rows, stage="policies")
    return select(policies, case=case, reward=reward, method=method)


def share_of_success(row: Row) -> float:
    """Return the joint rate over the success rate; NaN below ten successes."""
    return _rate(row, "aligned", "preferred")


def success_change(row: Row) -> float:
    """Return how much the success rate rose over the base's."""
    return _rate(row, "aligned", "success") - _rate(row, "base", "success")


def _rate(row: Row, when: str, name: str) -> float:
    rate = row[when][name]
    return math.nan if not rate["num"] or rate["value"] is None else float(rate["value"])


def _gain(first: Sequence[Row], second: Sequence[Row]) -> dict[str, Any]:
    """Return what one use has more than another in joint rate, seed by seed."""
    a, b = ({row["seed"]: _rate(row, "aligned", "joint") for row in each}
            for each in (first, second))  # fmt: skip
    return bootstrap(np.array([a[seed] - b[seed] for seed in a if seed in b], float))


def _part(chosen: Sequence[Row], tried: Sequence[Row]) -> dict[str, Any]:
    """Return the mean gain in joint rate of choosing by a critic over that of simulating."""
    gains = [
        {
            row["seed"]: _rate(row, "aligned", "joint") - _rate(row, "base", "joint")
            for row in each
        }
        for each in (chosen, tried)
    ]  # fmt: skip
    seeds = sorted(gains[0].keys() & gains[1].keys())
    ours, most = (np.array([each[seed] for seed in seeds]) for each in gains)
    if not seeds or most.mean() <= 0:
        return bootstrap(np.zeros(0))
    return {"value": float(ours.mean() / most.mean()), "n": len(seeds)}
