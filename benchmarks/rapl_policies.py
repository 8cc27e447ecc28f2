"""Policies aligned by visual rewards: part of `benchmarks/rapl.py`, whose results it shares.

A policy is cloned from demonstrations of which half show what people prefer. A reward learns from
20 rankings of three episodes, which it sees by a camera. By this reward the policy is tuned, or
chooses at run time: by a critic of the reward, and by trying each candidate in the simulator, the
upper bound. Demonstrations, base policy and recorded episodes are made once for a case and seed,
answers and reward once for a reward; they are kept in runs/bench-rapl/policies, and so are features
of what was seen.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.align import BASE, LABELS, file_name, link_run
from benchmarks.rapl_cases import Policy
from benchmarks.result_lines import align_groups, read_rows
from robopref.align.config import AlignConfig
from robopref.align.guard import GuardConfig
from robopref.align.loop import AlignmentLoop
from robopref.align.simulated import SimulatedSpec
from robopref.commands.bench import describe_commit
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.preferences.triplets import TripletsConfig
from robopref.workers import Workers

RUNS = Path("runs/bench-rapl/policies")
NUM_SIMULATED = 20
"""Test starts from which candidates are tried in the simulator, the first ones."""
SECONDS_A_ROW = 240.0


def work_policies(
    items: Sequence[Policy],
    results: Path,
    workers: Workers,
    *,
    runs: Path = RUNS,
    minutes: float = 0.0,
) -> None:
    """Do the items that have no line in `results` yet, a case and seed in each worker at a time.

    Args:
        items: What to run.
        results: File of finished runs.
        workers: Who runs them; all of them have to see the files.
        runs: Folder of the runs under way.
        minutes: Begin nothing after this long; 0 for no limit.

    Raises:
        RuntimeError: Runs failed; the others are done.
    """
    done = {row["key"] for row in read_rows(results)}
    groups: dict[tuple[str, int], list[Policy]] = defaultdict(list)
    for item in items:
        if item.key not in done:
            groups[item.case.name, item.seed].append(item)
    left = sum(map(len, groups.values()))
    hours = left * SECONDS_A_ROW / 2 / 3600
    print(f"{left} policies are left: about {hours:.1f} h on two cores.", flush=True)
    do = partial(do_policy, runs=runs)
    align_groups(map(tuple, groups.values()), do, results, workers, minutes=minutes)


def do_policy(item: Policy, workers: Workers, *, runs: Path) -> dict[str, Any]:
    """Align one policy and return its line."""
    torch.set_num_threads(1)
    start = time.monotonic()
    row: dict[str, Any] = {
        "key": item.key, "stage": "policies", "case": item.case.name, "seed": item.seed,
        "labels": item.labels, "reward": item.reward.name, "method": item.method.name,
        "commit": describe_commit(Path.cwd()),
    }  # fmt: skip
    config = make_config(item)
    folder = runs / file_name(f"{item.case.name} seed {item.seed}")
    base = AlignmentLoop(_plain(config), folder / "base", workers)
    # One folder for all that is linked to this run.
    (base.directory / "features").mkdir(exist_ok=True)
    base.prepare_base()
    row["base"] = base.evaluate_policy("base").to_dict()
    directory = folder / file_name(item.reward.name)
    link_run(base.directory, directory, BASE)
    labelled = AlignmentLoop(replace(_plain(config), reward=config.reward), directory, workers)
    labelled.prepare_reward()
    row["pool_accuracy"] = labelled.label_curve()[-1]["pool_accuracy"]
    begun = time.monotonic()
    if item.method.chooses:
        row["aligned"] = _choose(item.method.chooses, labelled, row)
    else:
        tuned = folder / file_name(item.key)
        link_run(directory, tuned, (*BASE, *LABELS, "critic"))
        loop = AlignmentLoop(config, tuned, workers)
        loop.align()
        row["aligned"] = loop.evaluate_policy("aligned").to_dict()
        row |= {key: loop.run.figures("aligned")[key] for key in ("guard", "worse", "kept_base")}
        shutil.rmtree(tuned)
    return row | {
        "seconds": time.monotonic() - begun, "total_seconds": time.monotonic() - start,
    }  # fmt: skip


def _choose(how: str, loop: AlignmentLoop, row: dict[str, Any]) -> dict[str, Any]:
    """Return the rates of the base that chooses among its candidates by the reward."""
    if how == "critic":
        row["critic"] = loop.run.figures("critic")["figures"]
        return loop.evaluate_policy("selected").to_dict()
    base = loop.directory / "base" / "policy"
    spec = SimulatedSpec(base, loop.directory / "reward", loop.config)
    store = loop.record("evaluation/simulated", spec, "test", NUM_SIMULATED)
    starts = {episode.seed for episode in store}
    of_base = [episode for episode in loop.store("evaluation/base") if episode.seed in starts]
    row["base"] = loop.evaluate(of_base).to_dict()
    return loop.evaluate(store).to_dict()


def make_config(item: Policy) -> AlignConfig:
    """Return the settings of the loop for an item: its defaults, with fewer pictures."""
    case = item.case
    config = AlignConfig(
        env=case.env, behaviour=case.behaviour, cameras=(case.camera,), picture_every=3,
        reward=item.reward.reward, seed=item.seed, num_workers=0,
        max_episode_steps=case.max_steps,
        # A ranking of three counts two labels. All are asked at once: nobody fits in between.
        strategy=TripletsConfig(), teacher=ScriptedTeacherConfig(), num_labels=2 * item.labels,
        labels_per_round=2 * item.labels, find_mistakes=False,
        num_demonstrations=120,
    )  # fmt: skip
    return replace(config, **item.method.changes)


def _plain(config: AlignConfig) -> AlignConfig:
    """Return the settings without what comes after the reward, so that all methods share it."""
    default = AlignConfig()
    return replace(
        config, reward=default.reward, method=default.method, num_rounds=1, guard=GuardConfig()
    )
