"""DeformPAM's loop on deformable tasks: ways to choose a primitive, on the same learned policies.

`robopref bench deform` runs what is left of the queue and reports; `python -m benchmarks.deform
--materials rope --minutes 60` runs a part of it. Each finished row of a case is one line of
benchmarks/results/deform.jsonl; rows that stand there are not run again. What a case learns is made
once for all its rows, in runs/bench-deform, and so are outcomes of (state, candidate).

A row's score is the share of the way from a random candidate of the supervised policy to the best
of eight of them, in the quality at the end: 0 for what the supervised policy does by itself, 1 for
who tries all eight. Better proposals may exceed 1.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.deform_cases import FAITHFUL, ORACLE, OURS, QUICK, SUPERVISED, Case, Row, plan
from benchmarks.deform_decisions import decision_figures
from benchmarks.result_lines import append_row, read_rows
from robopref.align.collect import Workers
from robopref.align.run import with_null
from robopref.commands.bench import describe_commit
from robopref.deform import tuning
from robopref.deform.actors import ChooserSpec
from robopref.deform.config import best_of
from robopref.deform.evaluate import evaluate, qualities_of
from robopref.deform.loop import DeformLoop
from robopref.policies.serialization import load_policy

RESULTS = Path("benchmarks/results/deform.jsonl")
RUNS = Path("runs/bench-deform")
MINUTES_A_CASE = {"rope": 25, "granular": 60, "tshirt": 240}
"""Rough time of what a case learns and does on two cores, for the plan that is printed first."""
FLOORS = {1.0: 0.80, 0.25: 0.65}
"""Least score of ours, with that share of DeformPAM's labels."""


def run(quick: bool) -> dict[str, Any]:
    """Run what is left of the queue, or four rows of a small case (quick), and summarise it."""
    if quick:
        folder = RUNS / "quick"
        results = folder / f"{describe_commit(Path.cwd())}.jsonl"
        work(QUICK, results, folder)
    else:
        results = RESULTS
        work(plan(), results, RUNS)
    found = summarise(read_rows(results))
    found["figures"] |= decision_figures()
    return found


def work(
    items: Sequence[tuple[Case, Row]], results: Path, runs: Path, *, minutes: float = 0.0
) -> None:
    """Do the items that have no line in `results` yet.

    Args:
        items: What to run.
        results: File of finished rows.
        runs: Folder of what is learned, of episodes and of outcomes.
        minutes: Begin nothing after this long; 0 for no limit.
    """
    done = {row["key"] for row in read_rows(results)}
    cases: dict[Case, list[Row]] = defaultdict(list)
    for case, row in items:
        if _key(case, row) not in done:
            cases[case].append(row)
    hours = sum(0.2 if case.quick else MINUTES_A_CASE[case.material] / 60 for case in cases)
    left = sum(map(len, cases.values()))
    print(f"{left} of {len(items)} rows are left: about {hours:.1f} h on two cores.", flush=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + 60 * minutes if minutes else float("inf")
    for case, rows in cases.items():
        with Workers(2) as workers:
            loop = DeformLoop(
                case.config(), runs / _file_name(case.name), workers,
                announce=lambda text: print(text, flush=True),
            )  # fmt: skip
            loop.prepare_base()
            loop.do_round(1)
            for row in rows:
                if time.time() > deadline:
                    return
                line = do_row(case, row, loop, runs / "outcomes.sqlite")
                append_row(with_null(line), results)
                print(f"{line['key']}: quality {np.mean(line['final']):.3f}", flush=True)


def do_row(case: Case, row: Row, loop: DeformLoop, outcomes: Path) -> dict[str, Any]:
    """Act in the test starts of a case as a row says, and return its line."""
    start = time.monotonic()
    name = _file_name(f"{row.name} {case.physics}")
    episodes = loop.record(
        f"rows/{name}", name, spec_of(row, loop, outcomes), "test",
        loop.config.num_test_episodes, physics=case.physics,
    )  # fmt: skip
    found = evaluate(episodes, loop.env)
    return {
        "key": _key(case, row), "material": case.material, "share": case.share, "seed": case.seed,
        "physics": case.physics, "row": row.name, "commit": describe_commit(Path.cwd()),
        # Quality does not depend on the physics: each environment of the task measures it.
        "final": [qualities_of(episode, loop.env)[-1] for episode in episodes],
        "steps": [len(e) if e.succeeded else loop.env.max_episode_steps for e in episodes],
        "success": [e.succeeded for e in episodes], "curve": found.curve,
        "seconds": time.monotonic() - start,
    }  # fmt: skip


def spec_of(row: Row, loop: DeformLoop, outcomes: Path) -> ChooserSpec:
    """Return who acts in a row; what has to be tuned for it is tuned once."""
    base = loop.directory / "base" / "policy"
    tuned = None
    if row.method:
        tuned = _tuned(row.method, loop)
    places = {"base": base, "tuned": tuned}
    return ChooserSpec(
        tuple(place for who in row.proposers if (place := places[who]) is not None),
        best_of(row.num_candidates), row.reward, base, tuned,
        loop.directory / "explicit-1" / "reward", loop.directory / "weights-1.json", row.tries,
        outcomes, loop.config.stop, row.name,
    )  # fmt: skip


def _tuned(method: str, loop: DeformLoop) -> Path:
    """Return the policy that was tuned by a method on the rankings of a run."""
    if method == "deformpam-plus":  # What the loop itself has done.
        return loop.directory / "tuned-1" / "policy"
    folder = loop.directory / f"tuned-{method}"
    config, base = replace(loop.config, method=method), load_policy(loop.directory / "base/policy")
    rankings = loop.rankings().view()
    loop.run.stage(
        f"tuned-{method}", lambda: tuning.tune(config, base, rankings, folder, 1)
    )  # fmt: skip
    return folder / "policy"


def summarise(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return scores, steps and success of every row of each task, share of labels and physics."""
    groups: dict[tuple[str, float, str], dict[str, list[Mapping[str, Any]]]] = {}
    for line in lines:
        group = groups.setdefault((line["material"], line["share"], line["physics"]), {})
        group.setdefault(line["row"], []).append(line)
    figures: dict[str, Any] = {}
    tables = []
    for (material, share, physics), rows in groups.items():
        if SUPERVISED.name not in rows or ORACLE.name not in rows:
            continue
        named = f"{material} {share:g}" + ("" if physics == "standard" else f" {physics}")
        for name, of_row in rows.items():
            together = _paired(rows, name)
            if not len(together[name]):
                continue
            figure = _interval(together, partial(_score, name=name))
            if name == OURS.name and physics == "standard":
                floor = FLOORS.get(share)
                figure |= {"floor": floor, "ok": bool(figure["value"] >= floor) if floor else None}
            figures[f"{named} {name}"] = figure
            steps = float(np.mean([step for line in of_row for step in line["steps"]]))
            success = float(np.mean([ok for line in of_row for ok in line["success"]]))
            quality = float(together[name].mean())
            tables.append(
                {"task": named, "row": name, "score": figure, "quality": quality,
                 "steps": steps, "success": success}
            )  # fmt: skip
        if OURS.name in rows and FAITHFUL.name in rows:
            gain = _interval(_paired(rows, OURS.name), _gain)
            figures[f"{named} ours less faithful RAS"] = gain | {
                "floor": 0.0, "ok": bool(gain["value"] >= 0),
            }  # fmt: skip
    return {"figures": figures, "rows": tables}


def _paired(rows: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> dict[str, np.ndarray]:
    """Return qualities at the end on the same seeds and starts, of a row and what it is held to."""
    wanted = {name, SUPERVISED.name, ORACLE.name, *({FAITHFUL.name} & set(rows))}
    by_seed = {n: {line["seed"]: line["final"] for line in rows[n]} for n in wanted}
    seeds = sorted(set.intersection(*(set(found) for found in by_seed.values())))
    return {
        n: np.array([value for seed in seeds for value in found[seed]])
        for n, found in by_seed.items()
    }


def _score(qualities: Mapping[str, np.ndarray], name: str) -> float:
    low, high = qualities[SUPERVISED.name].mean(), qualities[ORACLE.name].mean()
    return float((qualities[name].mean() - low) / (high - low))


def _gain(qualities: Mapping[str, np.ndarray]) -> float:
    return _score(qualities, OURS.name) - _score(qualities, FAITHFUL.name)


def _interval(
    qualities: Mapping[str, np.ndarray], statistic: Callable[[Mapping[str, np.ndarray]], float]
) -> dict[str, Any]:
    """Return a statistic with its 95 % bootstrap interval over starts, which rows share."""
    num = len(next(iter(qualities.values())))
    rng = np.random.default_rng(0)
    draws = [
        statistic({name: values[chosen] for name, values in qualities.items()})
        for chosen in rng.integers(num, size=(2000, num))
    ]
    low, high = np.nanpercentile(np.where(np.isfinite(draws), draws, np.nan), (2.5, 97.5))
    return {"value": statistic(qualities), "low": float(low), "high": float(high), "n": num}


def _key(case: Case, row: Row) -> str:
    return f"{case.name} {case.physics}{' quick' if case.quick else ''}: {row.name}"


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in text)


def main() -> None:
    """Run a part of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--materials", nargs="+", default=["rope", "granular", "tshirt"])
    parser.add_argument("--minutes", type=float, default=0.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    items = [(case, row) for case, row in plan() if case.material in given.materials]
    work(items, RESULTS, RUNS, minutes=given.minutes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
