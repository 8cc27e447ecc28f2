"""Visual rewards from a few rankings of clips, RAPL as published and improved, beside baselines.

`robopref bench rapl` runs what is left of the queue and reports; `python -m benchmarks.rapl
--stages main --minutes 60` runs a part of it. Each finished fit is one line of
benchmarks/results/rapl.jsonl; fits that stand there are not done again. Clips are made once, in
runs/bench-rapl.

A reward learns from rankings of three clips of one embodiment, and is judged on clips of other
starts, of this embodiment and of others: `triplet` is the share of rankings of three that it gives
in full, `kendall` and `spearman` compare returns with what people prefer, `within` compares rewards
along a clip with how good its frames are (`ramp`: what counting the frames gets there), and `hard`
is the share of good clips at another speed that it likes better than good clips turned around,
shuffled or cut off half way. `copy` is how far above the mean clip it puts good clips and what
becomes of them, in deviations of clips; `own distance` is that of a clip from itself, as a share of
that from another one.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from benchmarks.align_figures import Row
from benchmarks.rapl_cases import (
    AVOID,
    CASES,
    FAITHFUL,
    FEW,
    PLUS,
    STAGES,
    Item,
    plan,
    plan_policies,
)
from benchmarks.rapl_clips import Clip, at_another_speed, load_clips, segments_of, spoiled
from benchmarks.rapl_figures import SPOILED, summarise
from benchmarks.rapl_policies import work_policies
from benchmarks.rapl_policy_figures import summarise_policies
from benchmarks.result_lines import append_row, read_rows
from robopref.align.run import with_null
from robopref.commands.bench import describe_commit
from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.query import Query
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.rewards.clip_distance import Clips
from robopref.seeding import derive_uuid, make_generator, make_rng
from robopref.types import STATE
from robopref.workers import Workers

RESULTS = Path("benchmarks/results/rapl.jsonl")
NUM_LEARNED, NUM_JUDGED = 120, 60
EVERY = 4
"""Frames from one to the next that the rank correlation within a clip looks at, as published."""
SECONDS_A_FIT = 20.0


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Run what is left of the queue, or two fits on one case (quick), and summarise it."""
    if quick:
        torch.set_num_threads(1)
        items = [Item("quick", AVOID, 0, FEW, 0.0, method) for method in (FAITHFUL, PLUS)]
        return summarise(
            [judge(item, tests=("avoid",), num_learned=48, num_judged=30) for item in items]
        )
    work([item for stage in STAGES for item in plan(stage)], RESULTS, workers)
    work_policies(list(plan_policies()), RESULTS, workers)
    rows = read_rows(RESULTS)
    fits, policies = summarise(rows), summarise_policies(rows)
    return {**fits, **policies, "figures": fits["figures"] | policies["figures"]}


def work(items: Iterable[Item], results: Path, workers: Workers, *, minutes: float = 0.0) -> None:
    """Do the items that have no line in `results` yet.

    Args:
        items: What to run.
        results: File of finished fits.
        workers: Who does them; all of them have to see the clips.
        minutes: Begin nothing after this long; 0 for no limit.
    """
    done = {row["key"] for row in read_rows(results)}
    left = {item.key: item for item in items if item.key not in done}
    hours = len(left) * SECONDS_A_FIT / 2 / 3600
    print(f"{len(left)} fits are left: about {hours:.1f} h on two cores.", flush=True)
    if not left:
        return
    results.parent.mkdir(parents=True, exist_ok=True)
    # Before there are two who would both make them.
    for case in {item.case.name: item.case for item in left.values()}.values():
        _clips(case.env, case.name, "train", NUM_LEARNED)
        for name, env in case.tests.items():
            _clips(env, case.name, "test", NUM_JUDGED)
            print(f"clips of {name} are there", flush=True)
    deadline = time.time() + 60 * minutes if minutes else float("inf")
    with workers:
        judged = workers.map(partial(_judge_before, deadline), left.values(), in_order=False)
        for row in judged:
            if row is None:
                continue
            append_row(with_null(row), results)
            found = next(iter(row["scores"].values()))
            print(row["key"], {k: round(v, 3) for k, v in found.items()}, flush=True)


def judge(
    item: Item,
    *,
    tests: Sequence[str] | None = None,
    num_learned: int = NUM_LEARNED,
    num_judged: int = NUM_JUDGED,
) -> Row:
    """Return the line of one fit.

    Args:
        item: What learns from which labels.
        tests: Where it is judged; None for wherever the case says.
        num_learned: Clips that are asked about.
        num_judged: Clips of each test.
    """
    case = item.case
    learned = _clips(case.env, case.name, "train", num_learned)
    view = PairwiseView.from_preferences(
        ask(learned, item.labels, item.noise, item.seed), _cutter(learned)
    )
    size = learned[0].features.shape[1]
    reward = item.method.reward.build(size, 2)
    if hasattr(reward, "unlabelled"):
        reward.unlabelled = segments_of(learned)
    start = time.monotonic()
    reward.fit(view, generator=make_generator(item.seed, "bench-rapl"))
    seconds = time.monotonic() - start
    return {
        "key": item.key, "stage": item.stage, "case": case.name, "seed": item.seed,
        "labels": item.labels, "noise": item.noise, "method": item.method.name,
        "commit": describe_commit(Path.cwd()), "seconds": seconds,
        "scores": {
            name: scores_of(reward, _clips(env, case.name, "test", num_judged))
            for name, env in case.tests.items() if tests is None or name in tests
        },
    }  # fmt: skip


def ask(clips: Sequence[Clip], num: int, noise: float, seed: int) -> list[Preference]:
    """Return rankings of three random clips each by a scripted teacher who errs."""
    values = {clip.name: clip.value for clip in clips}
    config = ScriptedTeacherConfig(mistake_rate=noise)
    teacher = config.build(
        lambda item: np.array([values[item.episode_id]]),
        spread=float(np.std(list(values.values()))), rng=make_rng(seed, "teacher"),
    )  # fmt: skip
    rng = make_rng(seed, "rankings")
    answers = []
    for number in range(num):
        items = tuple(clips[i].segment for i in rng.choice(len(clips), 3, replace=False))
        answer = teacher.answer(Query(derive_uuid(seed, "ranking", number), items))
        assert answer is not None
        answers.append(answer)
    return answers


def scores_of(reward: Any, clips: Sequence[Clip]) -> dict[str, float]:
    """Return how well a reward judges clips; NaN where nothing is known of frames."""
    segments = segments_of(clips)
    rewards, values = reward.rewards(segments), np.array([clip.value for clip in clips])
    returns = reward.segment_return(segments)
    within = [
        _along(r[: len(clip)], clip.frame_values) for r, clip in zip(rewards, clips, strict=True)
    ]
    counted = [_along(np.arange(len(clip)), clip.frame_values) for clip in clips]
    return {
        "triplet": _triplets(returns, values),
        "kendall": float(np.asarray(kendalltau(returns, values))[0]),
        "spearman": float(np.asarray(spearmanr(returns, values))[0]),
        "within": _mean_known(within),
        "ramp": _mean_known(counted),
        "own distance": _own_distance(reward, segments),
        **_copies(reward, clips, returns),
    }


def _mean_known(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _triplets(returns: np.ndarray, values: np.ndarray) -> float:
    """Return the share of triplets of different values that returns put into their order."""
    places = np.array(list(combinations(range(len(values)), 3)))
    worth, found = values[places], returns[places]
    known = np.diff(np.sort(worth, axis=1), axis=1).min(1) > 0
    right = (np.argsort(worth, axis=1) == np.argsort(found, axis=1)).all(1)
    return float(right[known].mean())


def _along(rewards: np.ndarray, frame_values: np.ndarray) -> float:
    seen, known = rewards[::EVERY], frame_values[::EVERY]
    if np.ptp(seen) == 0 or not np.ptp(known) > 0:
        return float("nan")
    return float(np.asarray(spearmanr(seen, known))[0])


def _copies(reward: Any, clips: Sequence[Clip], returns: np.ndarray) -> dict[str, float]:
    """Return the share of spoiled good clips that are worse than the same at another speed.

    Beside it how good the reward holds each kind of copy.
    """
    rng = make_rng(0, "spoiled")
    best = np.quantile([clip.value for clip in clips], 0.85)
    good = [i for i, clip in enumerate(clips) if clip.value >= best]
    other = reward.segment_return(segments_of([at_another_speed(clips[i]) for i in good]))
    copies = [bad for i in good for bad in spoiled(clips[i], rng)]
    wrong = reward.segment_return(segments_of(copies)).reshape(len(good), -1)
    kinds = {"same": returns[good], "other-speed": other} | dict(zip(SPOILED, wrong.T, strict=True))
    spread = max(float(returns.std()), 1e-12)
    height = {f"copy {k}": float((v.mean() - returns.mean()) / spread) for k, v in kinds.items()}
    return {"hard": float((other[:, None] > wrong).mean())} | height


def _own_distance(reward: Any, segments: Any) -> float:
    """Return how far clips are from themselves beside others; NaN where nothing is compared."""
    if not hasattr(reward, "distances"):
        return float("nan")
    with torch.no_grad():
        state, action, mask = map(
            torch.from_numpy, (segments.obs[STATE], segments.action, segments.mask)
        )
        clips = Clips(reward.embed(reward.prepare(state, action, mask)["features"]), mask)
        one = torch.arange(len(mask))
        own, other = (
            float(reward.distances(clips, clips, (one, two))[0].mean())
            for two in (one, one.roll(1))
        )
    return own / other if other > 0 else float("nan")


def _cutter(clips: Sequence[Clip]) -> Callable[..., Any]:
    named = {clip.name: clip for clip in clips}
    return lambda segment: named[segment.episode_id].cut()


def _judge_before(deadline: float, item: Item) -> Row | None:
    return None if time.time() > deadline else judge(item)


@cache
def _clips(env: str, case: str, split: str, num: int) -> list[Clip]:
    behaviour = next(each.behaviour for each in CASES if each.name == case)
    return load_clips(env, behaviour, split, num)


def main() -> None:
    """Run a part of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=0.0)
    given = parser.parse_args()
    items = [i for stage in given.stages for i in plan(stage)]
    work(items, RESULTS, Workers(2), minutes=given.minutes)
    if "policies" in given.stages:
        work_policies(list(plan_policies()), RESULTS, Workers(2), minutes=given.minutes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
