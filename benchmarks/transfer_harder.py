"""Transfers between tasks that are less alike, and what the diagnosis says before they are used.

Every row is one transfer by shared features, with no answer about the target and with ten: other
kinds of Meta-World tasks, another robot (robomimic's Lift, Can and Square by robosuite's rewards,
and people's answers about them), ways to move in place of success, and, as controls, answers about
one thing where another is asked.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.transfer_data import SIX, Judge, load_task
from benchmarks.transfer_rewards import PEOPLES, load_people
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.envs import BEHAVIOURS
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, Transferred
from robopref.seeding import make_rng
from robopref.transfer.verdict import judge
from robopref.transfer.workflow import diagnose, measure_answers
from robopref.types import STATE

OTHER_KINDS = (
    "reach-v3", "pick-place-v3", "peg-insert-side-v3", "hammer-v3", "assembly-v3",
    "plate-slide-v3", "basketball-v3",
)  # fmt: skip
"""To reach, to grasp and carry, to insert, to use a tool, to push a disc, to throw."""
ROBOMIMIC = ("lift", "can", "square")
"""Another robot with other actions, and rewards of another design (robosuite's shaped ones)."""
WAYS = ("slow", "approach-high", "keep-away")
"""Behaviours that one task is answered about and another one is asked about."""
WAYS_IN = ("button-press-v3", "door-close-v3", "sweep-into-v3", "window-open-v3")
SEEDS, NUM_PROBES = (0,), 10
USELESS = 0.6
"""Accuracy below which a transfer is not worth training on."""
Row = dict[str, Any]


def run_harder(seeds: Sequence[int] = SEEDS) -> list[Row]:
    """Return one row for each transfer."""
    rows = list(_peoples())
    for seed in seeds:
        rows += _kinds(seed)
        rows += _robots(seed)
        rows += _ways(seed)
        print("harder", seed, len(rows), flush=True)
    return rows


def _kinds(seed: int) -> Iterator[Row]:
    """Yield transfers from and to tasks of other kinds."""
    six = {name: load_task(name, seed).task for name in SIX}
    others = {name: load_task(name, seed).task for name in OTHER_KINDS}
    for name, target in others.items():
        yield carry("the six to another kind", list(six.values()), target, seed)
        rest = [each for other, each in others.items() if other != name]
        yield carry("other kinds to another kind", rest, target, seed)
        yield carry("another kind to door-close", [target], six["door-close-v3"], seed)


def _robots(seed: int) -> Iterator[Row]:
    """Yield transfers to and between robomimic's tasks."""
    six = [load_task(name, seed).task for name in SIX]
    tasks = {name: load_task(name, seed, family="robomimic").task for name in ROBOMIMIC}
    for name, target in tasks.items():
        yield carry("the six to robomimic", six, target, seed)
        others = [other for key, other in tasks.items() if key != name]
        yield carry("robomimic to robomimic", others, target, seed)
        yield carry("robomimic to door-close", [target], six[SIX.index("door-close-v3")], seed)


def _ways(seed: int) -> Iterator[Row]:
    """Yield transfers of ways to move, to the same way elsewhere and from success to it."""
    success = {name: load_task(name, seed).task for name in WAYS_IN}
    for way in WAYS:
        tasks = {name: load_task(name, seed, judge=_by_behaviour(way)).task for name in WAYS_IN}
        for name, target in tasks.items():
            others = [other for other in WAYS_IN if other != name]
            yield carry(f"{way}, from one task", [tasks[others[0]]], target, seed)
            yield carry(f"{way}, from three tasks", [tasks[o] for o in others], target, seed)
            rest = [success[other] for other in others]
            yield carry(f"success there, {way} here", rest, target, seed)


def _by_behaviour(name: str) -> Judge:
    behaviour = BEHAVIOURS.config_class(name)()

    def judge_segment(episode: Episode, segment: Segment) -> float:
        start, stop = segment.start, segment.start + segment.length
        obs = episode.obs[STATE][start : stop + 1]
        return float(behaviour.measure(obs, episode.action[start:stop], episode.reward[start:stop]))

    return judge_segment


def _peoples() -> Iterator[Row]:
    """Yield transfers to people's answers about another robot's tasks."""
    people = {name: load_people(name).task for name in PEOPLES}
    six = [load_task(name, 0).task for name in SIX]
    for name, target in people.items():
        yield carry("Meta-World to people's answers", six, target, 0)
        for other, source in people.items():
            if other != name:
                yield carry("people's answers, another task", [source], target, 0)


def carry(kind: str, sources: Sequence[TaskSegments], target: TaskSegments, seed: int) -> Row:
    """Return how well answers foretell those about a target: with none of them, and with a few."""
    rng = make_rng(seed, "harder", kind, target.name)
    target = target.with_pairs(target.prefers_b != 0.5)
    config = SharedFeaturesConfig()
    found = config.build().transfer(sources, target.unanswered(), rng)
    diagnosis = diagnose(found, sources, target.unanswered(), rng)
    # What a user sees who answers a few queries about the target before training on it.
    order = rng.permutation(len(target.a))
    answered = target.with_pairs(order[:NUM_PROBES])
    others = target.with_pairs(order[NUM_PROBES:])
    then = config.build().transfer(sources, answered, rng)
    probes = measure_answers(config, sources, answered, seed=seed)
    return {
        "kind": kind,
        "sources": [source.name for source in sources],
        "target": target.name,
        "seed": seed,
        "accuracy": _accuracy(found, target),
        "accuracy_after_answers": _accuracy(then, others),
        "pairs": len(target.a),
        "verdict": judge(diagnosis, ()).level,
        "verdict_after_answers": judge(diagnose(then, sources, answered, rng), probes).level,
        **{name: None if math.isnan(value) else value for name, value in diagnosis.items()},
    }


def _accuracy(found: Transferred, target: TaskSegments) -> float:
    """Return the share of a target's answers that are foretold."""
    says = found.preferred[target.b, target.a]
    return float(((says > 0.5) == (target.prefers_b > 0.5)).mean())


def summarise_harder(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows by kind and by verdict."""
    figures = {}
    for end, when in (("", "no answer"), ("_after_answers", f"{NUM_PROBES} answers")):
        for level, of in sorted(_grouped(rows, f"verdict{end}").items()):
            useless = np.mean([row[f"accuracy{end}"] < USELESS for row in of])
            figures[f"{level}, {when}"] = {"value": float(useless), "n": len(of)}
    by_kind = {
        kind: {
            "accuracy": _mean(of, "accuracy"),
            "accuracy_after_answers": _mean(of, "accuracy_after_answers"),
            "worst": float(min(row["accuracy"] for row in of)),
            **{key: _mean(of, key) for key in ("expected_accuracy", "source", "across", "meaning")},
            "num": len(of),
            "verdicts": _counts(of, "verdict"),
            "verdicts_after_answers": _counts(of, "verdict_after_answers"),
        }
        for kind, of in _grouped(rows, "kind").items()
    }
    return {"verdicts": figures, "harder": by_kind, "harder_rows": list(rows)}


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return float(np.mean(values)) if values else None


def _counts(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    return {level: len(of) for level, of in sorted(_grouped(rows, key).items())}


def _grouped(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups
