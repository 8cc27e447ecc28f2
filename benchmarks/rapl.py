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
shuffled or cut off half way.
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

from benchmarks.align_figures import Row, at_least, at_most, bootstrap, select
from benchmarks.rapl_cases import (
    AVOID,
    CASES,
    FAITHFUL,
    FEW,
    LABELS,
    PLUS,
    RLHF,
    STAGES,
    Item,
    plan,
)
from benchmarks.rapl_clips import Clip, at_another_speed, load_clips, segments_of, spoiled
from benchmarks.result_lines import append_row, read_rows
from robopref.align.run import with_null
from robopref.commands.bench import describe_commit
from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.query import Query
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.seeding import derive_uuid, make_generator, make_rng
from robopref.workers import Workers

RESULTS = Path("benchmarks/results/rapl.jsonl")
NUM_LEARNED, NUM_JUDGED = 120, 60
METRICS = ("triplet", "kendall", "spearman", "within", "hard")
"""What is held to aims."""
EVERY = 4
"""Frames from one to the next that the rank correlation within a clip looks at, as published."""
SECONDS_A_FIT = 20.0


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Run what is left of the queue, or two fits on one case (quick), and summarise it."""
    if quick:
        torch.set_num_threads(1)
        items = [Item("quick", AVOID, 0, FEW, 0.0, method) for method in (FAITHFUL, PLUS)]
        rows = [judge(item, tests=("avoid",), num_learned=48, num_judged=30) for item in items]
        return summarise(rows)
    work([item for stage in STAGES for item in plan(stage)], RESULTS, workers)
    return summarise(read_rows(RESULTS))


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
        "hard": _hard(reward, clips),
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


def _hard(reward: Any, clips: Sequence[Clip]) -> float:
    """Return the share of spoiled good clips that are worse than the same at another speed."""
    rng = make_rng(0, "spoiled")
    best = np.quantile([clip.value for clip in clips], 0.85)
    good = [clip for clip in clips if clip.value >= best]
    right = reward.segment_return(segments_of([at_another_speed(clip) for clip in good]))
    wrong = reward.segment_return(segments_of([bad for clip in good for bad in spoiled(clip, rng)]))
    return float((right[:, None] > wrong.reshape(len(good), -1)).mean())


def _cutter(clips: Sequence[Clip]) -> Callable[..., Any]:
    named = {clip.name: clip for clip in clips}
    return lambda segment: named[segment.episode_id].cut()


def _judge_before(deadline: float, item: Item) -> Row | None:
    return None if time.time() > deadline else judge(item)


@cache
def _clips(env: str, case: str, split: str, num: int) -> list[Clip]:
    behaviour = next(each.behaviour for each in CASES if each.name == case)
    return load_clips(env, behaviour, split, num)


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return a table of what was measured, and figures against their aims."""
    figures: dict[str, Any] = {}
    rows = [row for row in rows if row["stage"] != "search"]
    in_domain = partial(_figure, rows, method=PLUS.name, labels=FEW, noise=0.0)
    for metric in METRICS:
        gain = _paired(rows, metric, PLUS.name, FAITHFUL.name)
        figures[f"{metric}: rapl-plus less rapl"] = at_least(bootstrap(gain), 0.0)
    for name in ("avoid", "group"):
        figures[f"within, {name}"] = at_least(in_domain(test=name, metric="within"), 0.80)
        figures[f"spearman, {name}"] = at_least(in_domain(test=name, metric="spearman"), 0.85)
    for name in AVOID.others:
        figures[f"within, {name}"] = at_least(in_domain(test=name, metric="within"), 0.65)
    for metric in METRICS:
        lost = _lost_with_noise(rows, metric)
        figures[f"{metric} lost with 20 % noise"] = at_most(bootstrap(lost), 0.05)
    figures |= _labels_needed(rows)
    return {"figures": {k: v for k, v in figures.items() if v["n"]}, "table": table(rows)}


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the mean of every metric over seeds, by test, method, labels and noise."""
    keys = sorted(
        {(test, r["method"], r["labels"], r["noise"]) for r in rows for test in r["scores"]}
    )
    return [
        {"test": test, "method": method, "labels": labels, "noise": noise}
        | {
            metric: _figure(
                rows, test=test, metric=metric, method=method, labels=labels, noise=noise
            )
            for metric in (*METRICS, "ramp")
        }
        for test, method, labels, noise in keys
    ]


def _figure(rows: Sequence[Row], *, test: str, metric: str, **wanted: Any) -> dict[str, Any]:
    found = [row["scores"][test][metric] for row in select(rows, **wanted) if test in row["scores"]]
    return bootstrap(np.array(found, float))


def _by_run(rows: Iterable[Row], metric: str) -> dict[tuple[Any, ...], float]:
    return {
        (row["case"], test, row["seed"]): scores[metric]
        for row in rows for test, scores in row["scores"].items() if scores[metric] is not None
    }  # fmt: skip


def _paired(rows: Sequence[Row], metric: str, first: str, second: str) -> np.ndarray:
    """Return what one method has more than another with equal labels, at 20 without noise."""
    wanted = {"labels": FEW, "noise": 0.0}
    a, b = (_by_run(select(rows, method=name, **wanted), metric) for name in (first, second))
    return np.array([a[key] - b[key] for key in a if key in b], float)


def _lost_with_noise(rows: Sequence[Row], metric: str) -> np.ndarray:
    """Return what RAPL++ loses at 20 labels when a fifth of them is wrong."""
    wanted = {"labels": FEW, "method": PLUS.name}
    right, wrong = (_by_run(select(rows, noise=noise, **wanted), metric) for noise in (0.0, 0.2))
    return np.array([right[key] - wrong[key] for key in right if key in wrong], float)


def _labels_needed(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how many rankings each of the two needs to order clips as well as RLHF with 100."""
    curves = {
        method: {
            seed: [
                _mean(select(rows, case="avoid", method=method, seed=seed, labels=n, noise=0.0))
                for n in LABELS
            ]
            for seed in {row["seed"] for row in rows}
        }
        for method in (PLUS.name, RLHF.name)
    }
    if not all(np.isfinite(c).all() for of in curves.values() for c in of.values()):
        return {}
    level = float(np.mean([curve[LABELS.index(100)] for curve in curves[RLHF.name].values()]))
    needed = {
        method: np.array([_first_at(curve, level) for curve in of.values()])
        for method, of in curves.items()
    }
    figures = {f"rankings to {level:.2f}, {m}": bootstrap(values) for m, values in needed.items()}
    ratio = bootstrap(needed[PLUS.name] / needed[RLHF.name])
    return figures | {"ratio of rankings": at_most(ratio, 0.2)}


def _mean(rows: Sequence[Row]) -> float:
    return rows[0]["scores"]["avoid"]["spearman"] if rows else float("nan")


def _first_at(curve: Sequence[float], level: float) -> float:
    """Return where a curve first reaches a level, between its points; 300 where it does not."""
    reached = np.flatnonzero(np.array(curve) >= level)
    if not len(reached):
        return 2.0 * LABELS[-1]
    at = int(reached[0])
    if at == 0:
        return float(LABELS[0])
    low, high = curve[at - 1], curve[at]
    share = (level - low) / (high - low)
    return float(LABELS[at - 1] + share * (LABELS[at] - LABELS[at - 1]))


def main() -> None:
    """Run a part of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=0.0)
    given = parser.parse_args()
    items = [i for stage in given.stages for i in plan(stage)]
    work(items, RESULTS, Workers(2), minutes=given.minutes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
