"""Methods of alignment on the same cases, as a queue that can be killed and gone on with.

`robopref bench align` runs what is left of the queue and reports; `python -m benchmarks.align
--stages search screening --minutes 60` runs a part of it. Each finished run is one line of
benchmarks/results/align.jsonl, with the commit that made it; runs that stand there are not done
again. Demonstrations, base policy, answers and reward are made once for all methods of a case and
seed, and are kept in runs/bench-align; a process does all of a case and seed, with one thread.
"""

import argparse
import json
import shutil
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.align_cases import BY_NAME, CASES, DEFAULT, PUBLISHED, STAGES, Item, plan
from benchmarks.align_control import run_control
from benchmarks.align_decisions import measure_decisions
from benchmarks.align_figures import summarise
from benchmarks.result_lines import Row, align_groups, read_rows
from robopref.align.config import AlignConfig
from robopref.align.evaluate import score_segment
from robopref.align.loop import AlignmentLoop
from robopref.commands.bench import describe_commit
from robopref.errors import NothingLearnedError
from robopref.workers import Workers

RESULTS = Path("benchmarks/results/align.jsonl")
RUNS = Path("runs/bench-align")
BASE = ("demonstrations", "base", "pool", "evaluation-base")
LABELS = ("labels", "reward", "evaluation-selected")
SECONDS_A_RUN = 50.0
"""Rough time of a run on one core, for the plan that is printed first."""


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Run what is left of the queue, or a small part of its own (quick), and summarise it."""
    if quick:
        return _quick(workers)
    work([item for stage in STAGES for item in plan(stage)], RESULTS, workers)
    return _summarised(RESULTS)


def _quick(workers: Workers) -> dict[str, Any]:
    """Return one seed of three cases, of the default and Diffusion-DPO as published."""
    cases = (CASES[0], CASES[4], CASES[9])
    items = [
        Item("quick", case, 0, 20, 0.0, method) for case in cases for method in (DEFAULT, PUBLISHED)
    ]
    results = RUNS / f"quick-{int(time.time())}" / "align.jsonl"
    work(items, results, workers, runs=results.parent)
    return _summarised(results)


def _summarised(results: Path) -> dict[str, Any]:
    found = summarise(read_rows(results))
    found["figures"] |= measure_decisions()
    return found


TIMES = ("seconds", "total_seconds")


def work(
    items: Sequence[Item],
    results: Path,
    workers: Workers,
    *,
    runs: Path = RUNS,
    minutes: float = 0.0,
    timed: bool = True,
) -> None:
    """Do the items that have no line in `results` yet, a case and seed in each worker at a time.

    Args:
        items: What to run.
        results: File of finished runs.
        workers: Who runs them; all of them have to see the files.
        runs: Folder of the runs under way.
        minutes: Begin nothing after this long; 0 for no limit.
        timed: Whether times are kept; not where other work runs beside.

    Raises:
        RuntimeError: Runs failed; the others are done.
    """
    done = {row["key"] for row in read_rows(results)}
    groups: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in items:
        if item.key not in done:
            groups[item.case.name, item.seed, item.asks_about_demonstrations].append(item)
    left = sum(map(len, groups.values()))
    hours = left * SECONDS_A_RUN / 2 / 3600
    print(f"{left} of {len(items)} runs are left: about {hours:.1f} h on two cores.", flush=True)
    align_groups(
        (tuple(sorted(group, key=lambda i: (i.num_labels, i.flips))) for group in groups.values()),
        partial(_timed_item, runs=runs, timed=timed), results, workers, minutes=minutes,
    )  # fmt: skip


def _timed_item(item: Item, workers: Workers, *, runs: Path, timed: bool) -> Row:
    """Return the line of an item, without times where other work ran beside."""
    row = do_item(item, runs, workers)
    return {key: value for key, value in row.items() if timed or key not in TIMES}


def do_item(item: Item, runs: Path, workers: Workers) -> dict[str, Any]:
    """Run one item and return its line."""
    start = time.monotonic()
    row: dict[str, Any] = {
        "key": item.key, "stage": item.stage, "group": item.case.group, "case": item.case.name,
        "seed": item.seed, "labels": item.num_labels, "flips": item.flips,
        "method": item.method.name, "commit": describe_commit(Path.cwd()),
    }  # fmt: skip
    config = make_config(item)
    prepared = prepare(item, workers, runs=runs)
    base = prepared.directory.parent
    row["base"] = prepared.evaluate_policy("base").to_dict()
    if item.method.control:
        directory = base / file_name(item.method.name)
        row |= run_control(item, prepared, directory, workers)
        shutil.rmtree(directory)
        return row | {"total_seconds": time.monotonic() - start}
    compares = item.stage in ("own", "main", "quick")
    try:
        labelled = _labelled(item, config, prepared, workers)
    except NothingLearnedError:
        return row | _as_base(row["base"], item, compares=compares)
    if compares:
        row["selected"] = labelled.evaluate_policy("selected").to_dict()
    row["pool_accuracy"] = labelled.label_curve()[-1]["pool_accuracy"]
    row["decided"], row["wrong"] = count_answers(labelled)
    directory = base / file_name(item.key)
    link_run(labelled.directory, directory, (*BASE, *LABELS))
    loop = AlignmentLoop(config, directory, workers)
    begun = time.monotonic()
    loop.align()
    row["seconds"] = time.monotonic() - begun
    row["aligned"] = loop.evaluate_policy("aligned").to_dict()
    if item.method.also_selected and compares:
        row["selection_pays"] = loop.selection_pays()
        # It is not used where validation starts say that it is worse.
        name = "aligned-selected" if row["selection_pays"] else "aligned"
        row["aligned-selected"] = loop.evaluate_policy(name).to_dict()
    row |= {key: loop.run.figures("aligned")[key] for key in ("guard", "worse", "kept_base")}
    shutil.rmtree(directory)
    return row | {"total_seconds": time.monotonic() - start}


def count_answers(loop: AlignmentLoop) -> tuple[int, int]:
    """Return how many answers of a run prefer one of the two, and how many of these are wrong."""
    labels = loop.labels()
    behaviours = {config.criterion: behaviour for config, behaviour in labels.judges()}
    decided = wrong = 0
    for preference in labels.preferences():
        behaviour = behaviours[preference.criterion]
        items: tuple[Any, ...] = preference.query.items
        scores = [
            score_segment(behaviour, labels.pool.episode(item.episode_id), item).sum()
            for item in items
        ]
        for a, b, prefers_b in preference.ranking.pairs():
            decided += int(prefers_b != 0.5)
            wrong += int(prefers_b != 0.5 and (scores[b] > scores[a]) != (prefers_b == 1))
    return decided, wrong


def _as_base(base: dict[str, Any], item: Item, *, compares: bool) -> dict[str, Any]:
    """Return what is measured where a few answers were all ties: whoever asked keeps the base."""
    found = {"aligned": base, "worse": False, "kept_base": True, "nothing_learned": True}
    if compares:
        found["selected"] = base
        if item.method.also_selected:
            found |= {"selection_pays": False, "aligned-selected": base}
    return found


def prepare(item: Item, workers: Workers, *, runs: Path = RUNS) -> AlignmentLoop:
    """Return the run with the base and the pool of an item's case and seed, made if missing."""
    own = "" if item.asks_about_demonstrations else " own episodes"
    folder = runs / file_name(f"{item.case.name} seed {item.seed}{own}")
    loop = AlignmentLoop(_plain(make_config(item)), folder / "base", workers)
    loop.prepare_base()
    return loop


def make_config(item: Item) -> AlignConfig:
    """Return the settings of the loop for an item."""
    case = item.case
    config = AlignConfig(
        env=f"metaworld/{case.task}", behaviour=case.behaviour, preferred_share=case.share,
        num_labels=item.num_labels, teacher=item.teacher, seed=item.seed, num_workers=0,
        max_episode_steps=250, ask_about_demonstrations=item.asks_about_demonstrations,
    )  # fmt: skip
    return replace(config, **(item.method.changes or {}))


def _plain(config: AlignConfig) -> AlignConfig:
    """Return the settings without what comes after the base, so that all items share it."""
    default = AlignConfig()
    return replace(
        config, num_labels=1, teacher=default.teacher, selection=default.selection,
        method=default.method, num_rounds=1, selected_share=default.selected_share,
        find_mistakes=default.find_mistakes, guard=default.guard,
    )  # fmt: skip


def _labelled(
    item: Item, config: AlignConfig, prepared: AlignmentLoop, workers: Workers
) -> AlignmentLoop:
    """Return the run with the item's answers and reward, which all its methods share."""
    selection = config.selection.num_candidates
    name = f"{item.num_labels} labels flips {item.flips:g} of {selection}"
    name += "" if config.find_mistakes else " believed"
    directory = prepared.directory.parent / file_name(name)
    link_run(prepared.directory, directory, BASE)
    default = AlignConfig()
    plain = replace(
        config, method=default.method, num_rounds=1, selected_share=default.selected_share,
        guard=default.guard,
    )  # fmt: skip
    loop = AlignmentLoop(plain, directory, workers)
    loop.prepare_reward()
    return loop


def link_run(source: Path, target: Path, stages: Iterable[str]) -> None:
    """Make `target` a run in which `stages` are done, with links to what they left in `source`."""
    if (target / "stages.json").is_file():
        return
    shutil.rmtree(target, ignore_errors=True)
    (target / "evaluation").mkdir(parents=True)
    found = json.loads((source / "stages.json").read_text())
    kept = {name: figures for name, figures in found.items() if name in stages}
    for part in ("demonstrations", "base", "pool", "reward", "critic", "features",
                 "evaluation/base", "evaluation/selected"):  # fmt: skip
        if (source / part).exists():
            (target / part).symlink_to((source / part).resolve())
    if "labels" in kept:
        if (source / "label-curve.json").is_file():
            shutil.copy(source / "label-curve.json", target)
        _copy_database(source / "preferences.sqlite", target / "preferences.sqlite")
    (target / "stages.json").write_text(json.dumps(kept))


def _copy_database(source: Path, target: Path) -> None:
    """Copy what was committed, of which a part may still be in the log beside the file."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def file_name(text: str) -> str:
    """Return a name for a file or folder that says what a text says."""
    return "".join(c if c.isalnum() or c in "-.@+" else "_" for c in text)


def main() -> None:
    """Run a part of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--methods", nargs="+", choices=sorted(BY_NAME), default=None)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--untimed", action="store_true", help="keep no times: other work runs too")
    given = parser.parse_args()
    items = [item for stage in given.stages for item in plan(stage)]
    if given.methods is not None:
        items = [item for item in items if item.method.name in given.methods]
    work(items, RESULTS, Workers(2), minutes=given.minutes, timed=not given.untimed)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
