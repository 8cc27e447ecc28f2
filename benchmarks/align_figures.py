"""Figures and tables of the alignment benchmark, from the lines of its finished runs.

Intervals are 95 % bootstrap intervals of the mean over runs (a case with a seed), each run having
50 test episodes. Methods are compared in the runs that all of them did.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.align_cases import CURVE_CASES, CURVE_SEEDS, DEFAULT, PUBLISHED
from robopref.statistics import mean_interval

Row = Mapping[str, Any]
FLOORS = {
    ("even", 5): 0.95, ("rare 10 %", 20): 0.90, ("rare 5 %", 20): 0.80, ("long-horizon", 20): 0.85,
    ("combined", 20): 0.85,
}  # fmt: skip
"""Preferred rate of the default method, by group and number of labels."""
POINTS = (2, 5, 10, 20, 50)


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures with their floors, and the tables of each stage."""
    main = [row for row in rows if row["stage"] in ("main", "quick")]
    figures: dict[str, Any] = {}
    for (group, labels), floor in FLOORS.items():
        chosen = select(main, group=group, labels=labels, flips=0.0, method=DEFAULT.name)
        name = f"{_short(group)}_{labels}_labels"
        # Where too few succeed for a preferred rate, the joint rate says how bad it is.
        rate = mean_of(chosen, lambda r: joint(r) if math.isnan(preferred(r)) else preferred(r))
        figures[f"preferred_{name}"] = at_least(rate, floor)
        figures[f"success_change_{name}"] = at_least(mean_of(chosen, success_change), -0.02)
    figures |= _of_default(main)
    if select(rows, stage="curves"):
        figures |= labels_to_reach(curve_rows(rows), 0.9)
    return {
        "figures": {name: figure for name, figure in figures.items() if figure["n"]},
        "runs": len(rows),
        "tables": {stage: table(select(rows, stage=stage)) for stage in _values(rows, "stage")},
    }


def curve_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that curves are drawn from: their own stage, and what main has of them."""
    cases = {case.name for case in CURVE_CASES}
    return [
        row for row in rows
        if row["stage"] == "curves"
        or (row["stage"] == "main" and row["case"] in cases and row["seed"] < CURVE_SEEDS)
    ]  # fmt: skip


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def joint(row: Row) -> float:
    """Return the joint rate of the tuned policy."""
    return float(row["aligned"]["joint"]["value"])


def preferred(row: Row) -> float:
    """Return the preferred rate of the tuned policy; NaN below ten successes."""
    rate = row["aligned"]["preferred"]
    return float(rate["value"]) if rate["num"] else math.nan


def success_change(row: Row) -> float:
    """Return how much the success rate rose over the base's."""
    return float(row["aligned"]["success"]["value"] - row["base"]["success"]["value"])


def drift(row: Row) -> float:
    """Return how much larger the denoising error on demonstrations became; NaN for controls."""
    found = row.get("guard", {}).get("drift")
    return math.nan if found is None else float(found)


def gain_of_selection(row: Row) -> float:
    """Return how much best-of-N on top of the tuned policy adds to its joint rate."""
    return float(row["aligned-selected"]["joint"]["value"]) - joint(row)


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a line for each method, group, number of labels and share of flips."""
    lines = []
    keys = ("method", "group", "labels", "flips")
    places = _ranks(rows)
    for values in sorted({tuple(row[key] for key in keys) for row in rows}, key=str):
        chosen = select(rows, **dict(zip(keys, values, strict=True)))
        lines.append(
            {
                **dict(zip(keys, values, strict=True)),
                "runs": len(chosen),
                "joint": mean_of(chosen, joint),
                "preferred": mean_of(chosen, preferred),
                "success_change": mean_of(chosen, success_change),
                "base_joint": mean_of(chosen, lambda r: float(r["base"]["joint"]["value"])),
                "seconds": median([float(r["seconds"]) for r in chosen if "seconds" in r]),
                "drift": mean_of(chosen, drift),
                "rank": mean_of(chosen, lambda r: places[r["key"]]),
            }
        )
    return lines


def labels_to_reach(rows: Sequence[Row], rate: float) -> dict[str, Any]:
    """Return how many labels the default and published DPO need for a joint rate.

    A run counts with the fewest labels from which on its curve stays at the rate; one that never
    does counts with twice the most that were tried. Only runs of which both curves are whole are
    looked at: one that lacks its last points would seem never to get there.
    """
    found: dict[str, dict[tuple[str, int], float]] = {}
    for method in (DEFAULT.name, PUBLISHED.name):
        of: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
        for row in select(rows, method=method, flips=0.0):
            of[row["case"], row["seed"]][row["labels"]] = joint(row)
        found[method] = {
            key: _first_at(curve, rate) for key, curve in of.items() if curve.keys() >= set(POINTS)
        }
    both = sorted(found[DEFAULT.name].keys() & found[PUBLISHED.name].keys())
    ours, theirs = (np.array([found[m][key] for key in both]) for m in found)
    ratio = bootstrap(np.log(ours / theirs)) if both else bootstrap(np.zeros(0))
    return {
        "labels_to_0.90": bootstrap(ours),
        "labels_to_0.90_published_dpo": bootstrap(theirs),
        "runs_that_reach_0.90": bootstrap((ours <= POINTS[-1]).astype(float)),
        "runs_that_reach_0.90_published_dpo": bootstrap((theirs <= POINTS[-1]).astype(float)),
        "labels_ratio": {
            **ratio, **{k: math.exp(ratio[k]) for k in ("value", "low", "high")},
            "floor": 0.2, "ok": math.exp(ratio["value"]) <= 0.2 and ratio["high"] < 0,
        },
    }  # fmt: skip


def _first_at(curve: Mapping[int, float], rate: float) -> float:
    reached = 2.0 * POINTS[-1]
    for num in sorted(curve, reverse=True):
        if curve[num] < rate:
            break
        reached = float(num)
    return reached


def _of_default(rows: Sequence[Row]) -> dict[str, Any]:
    """Return figures of the default method beside its rates in each group."""
    chosen = select(rows, method=DEFAULT.name, flips=0.0)
    worse = cases_below(chosen, "base", "aligned")
    seconds = median([float(row["seconds"]) for row in chosen if "seconds" in row])
    found = {
        f"joint_lost_with_flips_{_short(group)}": at_most(_lost_with_flips(rows, group), 0.05)
        for group in _values(rows, "group")
    } | {
        "cases_below_base": {
            "value": len(worse), "n": len({r["case"] for r in chosen}), "floor": 0,
            "ok": not worse,
        },
        "seconds_of_tuning": at_most(seconds, 60.0),
    }  # fmt: skip
    tried = [row for row in chosen if "selection_pays" in row]
    if tried:
        gain = mean_of(tried, gain_of_selection)
        lost = cases_below(tried, "aligned", "aligned-selected")
        found["gain_of_best_of_n"] = {
            **gain, "floor": 0.0, "ok": gain["value"] >= 0 and not lost,
        }  # fmt: skip
        found["runs_where_best_of_n_is_used"] = mean_of(tried, lambda r: r["selection_pays"])
    return found


def _lost_with_flips(rows: Sequence[Row], group: str) -> dict[str, Any]:
    """Return how much lower the joint rate is with a fifth of 20 answers turned around."""
    of = select(rows, method=DEFAULT.name, labels=20, group=group)
    flipped = {(r["case"], r["seed"]): joint(r) for r in select(of, flips=0.2)}
    lost = [
        joint(row) - flipped[row["case"], row["seed"]]
        for row in select(of, flips=0.0)
        if (row["case"], row["seed"]) in flipped
    ]
    return bootstrap(np.array(lost))


def cases_below(rows: Sequence[Row], before: str, after: str) -> list[str]:
    """Return the cases in which one policy's joint rate is below another's.

    One-sided at 95 %, by the t test over seeds, with Holm's correction over the cases; once for
    each number of labels.
    """
    below = set()
    for labels in _values(rows, "labels"):
        p_values = {
            case: _p_below([r[before]["joint"] for r in of], [r[after]["joint"] for r in of])
            for case in _values(rows, "case")
            if (of := select(rows, case=case, labels=labels))
        }
        for place, case in enumerate(sorted(p_values, key=lambda k: p_values[k])):
            if p_values[case] > 0.05 / (len(p_values) - place):
                break
            below.add(case)
    return sorted(below)


def _p_below(before: Sequence[Row], after: Sequence[Row]) -> float:
    """Return the p value of rates `after` being below rates `before`, one a seed.

    Seeds that agree by chance do not say more than rates do, which are told apart by half an
    episode. One seed is judged by its episodes, by the test of two proportions.
    """
    change = np.array([b["value"] - a["value"] for a, b in zip(before, after, strict=True)])
    if len(change) > 1:
        spread = max(float(change.std(ddof=1)), 0.5 / before[0]["num"])
        error = spread / math.sqrt(len(change))
        return float(t.cdf(change.mean() / error, df=len(change) - 1))
    (first, num), (second, num_after) = (
        [rows[0][key] for key in ("successes", "num")] for rows in (before, after)
    )
    pooled = (first + second) / (num + num_after)
    error = math.sqrt(max(pooled * (1 - pooled) * (1 / num + 1 / num_after), 1e-12))
    return NormalDist().cdf(float(change[0]) / error)


def _ranks(rows: Sequence[Row]) -> dict[str, float]:
    """Return the rank of each run's joint rate among the methods of its setting; ties share."""
    settings: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        settings[row["case"], row["seed"], row["labels"], row["flips"]].append(row)
    ranks = {}
    for group in settings.values():
        values = np.array([joint(row) for row in group])
        for row, value in zip(group, values, strict=True):
            ranks[row["key"]] = 1.0 + float(
                (values > value).sum() + ((values == value).sum() - 1) / 2
            )
    return ranks


def mean_of(rows: Sequence[Row], of: Callable[[Row], float]) -> dict[str, Any]:
    """Return the mean over the rows with its interval; what is not a number is left out."""
    return bootstrap(np.array([of(row) for row in rows], float))


def bootstrap(values: np.ndarray) -> dict[str, Any]:
    """Return the mean of the values that are numbers with its interval."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0}
    low, high = mean_interval(known)
    return {"value": float(known.mean()), "low": low, "high": high, "n": len(known)}


def median(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of times with its quartiles: some runs had to share the machine."""
    if not values:
        return {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0}
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"value": float(middle), "low": float(low), "high": float(high), "n": len(values)}


def at_least(figure: Mapping[str, Any], floor: float) -> dict[str, Any]:
    """Return a figure with the floor that its value has to reach."""
    return {**figure, "floor": floor, "ok": bool(figure["value"] >= floor)}


def at_most(figure: Mapping[str, Any], ceiling: float) -> dict[str, Any]:
    """Return a figure with the most that its value may be."""
    return {**figure, "floor": ceiling, "ok": bool(figure["value"] <= ceiling)}


def _short(group: str) -> str:
    return group.replace(" %", "").replace(" ", "_").replace("-", "_")


def _values(rows: Sequence[Row], key: str) -> list[Any]:
    return sorted({row[key] for row in rows})
