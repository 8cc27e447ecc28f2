"""Policies from carried labels: IQL on rewards that other tasks' preferences teach.

On each task, IQL learns from episodes of IPL's recipe, by the recorded reward, by a reward learned
from true labels, by one learned from labels that the shared-features method carries over from
other tasks, and by controls. All seeds and rewards of a task train as one batched model. Tasks are
those of a screening in which the recorded reward serves and its negative, nothing and imitation do
not, within a time that the screening says; the number of updates was fixed before, on recorded
rewards. Learned rewards are of the observation alone: an actor that is weighted by advantages
compares the actions of one state, and a reward that sees actions pays for those that look like
good segments' wherever they are. How much that costs is a row of its own.

Each finished part is one line of benchmarks/results/transfer_policies.jsonl, which are not done
again; `python -m benchmarks.transfer_policies --stages updates screening --minutes 20` does a part.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.align_figures import bootstrap
from benchmarks.carried_labels import (
    Labels,
    carry_labels,
    learn_reward,
    load_sources,
    true_labels,
)
from benchmarks.policy_cases import (
    CARRIED,
    CONTROLS,
    LABELLED,
    LEARNED,
    LIMITS,
    NUM_TASKS,
    STAGES,
    TRUE,
    WITH_ACTIONS,
    Job,
    all_members,
    chosen_tasks,
    plan,
)
from benchmarks.result_lines import append_row, read_rows
from benchmarks.robust_rewards import draw_judged, score
from robopref.align.actors import Actor, PolicyActor
from robopref.align.collect import Plan, open_or_create, record
from robopref.align.recipes import IPLRecipeConfig, RecipePlan, collect_recipe
from robopref.commands.bench import describe_commit
from robopref.data.episode import batch_segments
from robopref.data.store import EpisodeStore
from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.iql_members import train_iql_members
from robopref.protocols import Environment
from robopref.rewards.mlp import MLPRewardConfig
from robopref.seeding import make_rng
from robopref.train_iql import RewardScaling, compute_step_rewards
from robopref.transfer.tasks import make_task
from robopref.workers import Workers

RESULTS = Path("benchmarks/results/transfer_policies.jsonl")
RUNS = Path("runs/bench-transfer-policies")
MAX_STEPS, NUM_TESTS = 150, 25
LENGTH, NUM_SEGMENTS, NUM_PAIRS = 50, 200, 2000
NETWORKS = GaussianPolicyConfig(hidden_sizes=(128, 128))
"""Half as wide as published: a third of the time, of which there is little."""
IQL = IQLConfig(
    policy=NETWORKS, batch_size=128, learning_rate=1e-3, inverse_temperature=20.0,
    mixed_precision="bf16",
)  # fmt: skip
"""So steep, since advantages of a step are small on this scale of rewards."""
REWARD = MLPRewardConfig(n_action_steps=1)
FLOOR, OVER_TRUE = 0.95, "success, carried labels over true labels"


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Do what is left, and summarise; or one task with few updates, and nothing that is kept."""
    if quick:
        job = Job("final", "drawer-open-v3", 300, all_members(range(1), range(1)), 40)
        return summarise([do_job(job, RUNS / "quick")])
    for stage in STAGES:
        work([stage], workers)
    return summarise(read_rows(RESULTS))


def work(stages: Sequence[str], workers: Workers, *, minutes: float = 0.0) -> None:
    """Do the jobs that have no line yet; begin none after so many minutes (0 for no limit)."""
    deadline = time.time() + 60 * minutes if minutes else float("inf")
    for stage in stages:
        done = {row["key"] for row in read_rows(RESULTS)}
        left = [job for job in plan(stage, read_rows(RESULTS)) if job.key not in done]
        moves = sum(len(job.members) * job.num_updates for job in left)
        print(f"{stage}: {len(left)} jobs, {moves} updates of members: at most "
              f"{moves / 600 / 60 + 2 * len(left):.0f} min of a core.", flush=True)  # fmt: skip
        do = partial(_do, runs=RUNS, deadline=deadline)
        with workers:
            for row in workers.map(do, left):
                if row is not None:
                    append_row(row, RESULTS)
                    rates = {name: np.mean(of, axis=0) for name, of in row["success"].items()}
                    print(row["key"], rates, f"{row['seconds']:.0f} s", flush=True)


def _do(job: Job, *, runs: Path, deadline: float) -> dict[str, Any] | None:
    """Return the line of a job; None if it is too late."""
    return None if time.time() > deadline else do_job(job, runs)


def do_job(job: Job, runs: Path) -> dict[str, Any]:
    """Train all members at once, and return the line of the job."""
    start = time.monotonic()
    torch.set_num_threads(1)
    store = _record(job, runs)
    recorded = time.monotonic()
    episodes = list(store)
    lengths = [len(episode) for episode in episodes]
    rewards, known = [], []
    for name, seed in job.members:
        judge: Any = "true" if name == TRUE else name
        if name in LEARNED or name in WITH_ACTIONS:
            judge, facts = _learn(store, job.task, name, seed)
            known.append({"by": name, "seed": seed, **facts})
        of_steps = compute_step_rewards(judge, episodes, seed=seed)
        rewards.append(RewardScaling().apply(of_steps, lengths))
    judged = time.monotonic()
    policies, _ = train_iql_members(
        replace(IQL, num_steps=job.num_updates), episodes, np.stack(rewards),
        [seed for _, seed in job.members], clones=[name == "cloning" for name, _ in job.members],
        device="cpu",
    )  # fmt: skip
    trained = time.monotonic()
    success: dict[str, list[list[float]]] = {}
    for (name, _), policy in zip(job.members, policies, strict=True):
        success.setdefault(name, []).append(evaluate(policy, job.task))
    end = time.monotonic()
    return {
        "key": job.key, "stage": job.stage, "task": job.task, "updates": job.num_updates,
        "commit": describe_commit(Path.cwd()), "tests": NUM_TESTS, "limits": LIMITS,
        "batch_size": IQL.batch_size, "transitions": sum(lengths),
        "solved_in_data": float(np.mean([episode.succeeded for episode in episodes])),
        "success": success, "rewards": known, "seconds": end - start,
        "seconds_of": {"recording": recorded - start, "rewards": judged - recorded,
                       "training": trained - judged, "tests": end - trained},
    }  # fmt: skip


def _record(job: Job, runs: Path) -> EpisodeStore:
    env = f"metaworld/{job.task}"
    store = open_or_create(runs / job.task, env)
    if len(store) < job.num_episodes:
        with Workers(0) as workers:
            collect_recipe(
                RecipePlan(env, IPLRecipeConfig(), job.num_episodes, 0, MAX_STEPS), store, workers
            )
    return store


def _learn(store: EpisodeStore, task: str, name: str, seed: int) -> tuple[Any, dict[str, float]]:
    """Return a reward fitted to true or carried labels, and how right these are.

    Both kinds of labels are about the same pairs.
    """
    rng = make_rng(seed, "transfer-policies", task)
    lengths = {row.episode_id: row.length for row in store.rows}
    judged = draw_judged(store, lengths, NUM_SEGMENTS, rng, length=LENGTH)
    a, b = np.triu_indices(len(judged.segments), 1)
    asked = rng.permutation(len(a))[:NUM_PAIRS]
    labels = true_labels(judged, a[asked], b[asked])
    if WITH_ACTIONS.get(name, name) == CARRIED:
        target = make_task(task, store, judged.segments)
        carried = carry_labels(load_sources(task, seed), target, rng)
        labels = Labels(a[asked], b[asked], carried.prefers_b[asked])
    segments = batch_segments([store.cut(segment) for segment in judged.segments])
    config = replace(REWARD, use_action=name in WITH_ACTIONS)
    reward = learn_reward(segments, judged, labels, seed, config)
    facts = {f"reward {key}": value for key, value in score(reward, store, judged).items()}
    return reward, {"label accuracy": labels.accuracy(judged), **facts}


@dataclass(frozen=True)
class Holding:
    """Acts as a policy of this process does."""

    policy: Any

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Return the actor."""
        return PolicyActor(self.policy)


def evaluate(policy: Any, task: str) -> list[float]:
    """Return the share of test starts, the same for all, that end well within each limit."""
    tests = Plan(
        env=f"metaworld/{task}", actor=Holding(policy), seed=0, start_set="test",
        num_episodes=NUM_TESTS, group_size=NUM_TESTS, max_episode_steps=MAX_STEPS,
    )  # fmt: skip
    with Workers(0) as workers:
        episodes = [episode for group in record(tests.groups(), workers) for episode in group]
    steps = [e.success.argmax() + 1 if e.succeeded else np.inf for e in episodes]
    return [float(np.mean(np.array(steps) <= limit)) for limit in LIMITS]


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the success of each reward, and the carried labels' as a share of the true ones'.

    A test has to succeed within the limit that the screening among the lines says.
    """
    limits = chosen_tasks(rows)
    final = [row for row in rows if row["stage"] == "final"]
    figures: dict[str, Any] = {"tasks": {"value": len(final), "n": len(final), "floor": 4,
                                         "ok": len(final) >= NUM_TASKS}}  # fmt: skip
    for name in (TRUE, *LEARNED, *WITH_ACTIONS, *CONTROLS):
        reached = [rate for row in final for rate in rates_within(row, name, limits)]
        figures[f"success, {name}"] = bootstrap(np.array(reached))
    found = ratio(
        *([rates_within(row, name, limits) for row in final] for name in (CARRIED, LABELLED))
    )
    ok = {"floor": FLOOR, "ok": bool(found["value"] >= FLOOR)}
    figures[OVER_TRUE] = found | ok
    return {"figures": figures, "limits": limits, "rows": rows}


def rates_within(row: Mapping[str, Any], name: str, limits: Mapping[str, int]) -> list[float]:
    """Return each seed's share of tests that succeed within the task's limit."""
    place = LIMITS.index(limits.get(row["task"], LIMITS[-1]))
    return [of[place] for of in row["success"][name]]


def ratio(top: Sequence[Sequence[float]], bottom: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the ratio of mean successes over the tasks, with an interval over their seeds.

    The seeds of a task are drawn anew, the same ones above and below: a seed's data, starts and
    labelled segments are the same.
    """
    rng = np.random.default_rng(0)
    if not len(top):
        return bootstrap(np.zeros(0))
    high, low = np.array(top), np.array(bottom)
    drawn = rng.integers(high.shape[1], size=(2000, *high.shape))
    resampled = [np.take_along_axis(one[None], drawn, 2).mean((1, 2)) for one in (high, low)]
    with np.errstate(divide="ignore", invalid="ignore"):
        value, ratios = high.mean() / low.mean(), resampled[0] / resampled[1]
    bounds = np.nanquantile(ratios, (0.025, 0.975)) if np.isfinite(ratios).any() else (np.nan,) * 2
    return {"value": float(value), "low": float(bounds[0]), "high": float(bounds[1]),
            "n": high.size}  # fmt: skip


def main() -> None:
    """Do a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=0.0)
    given = parser.parse_args()
    work(given.stages, Workers(2), minutes=given.minutes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
