"""Preferences carried from task to task: label accuracy and calibration of every method.

Six Meta-World tasks of the recipe `mixed`, 64 segments of 50 steps each; a source is answered on
every pair that its true return decides, a target on none, or on k pairs. All pairs of the target
that the truth decides are scored, however small the difference; `clear` scores those apart that
differ by more than a tenth of the returns' deviation. The settings of `shared-features` were chosen
on seeds 0 to 4. Harder transfers, and what the diagnosis says of each, are in `transfer_harder`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from benchmarks.align_figures import bootstrap
from benchmarks.carried_labels import ask
from benchmarks.transfer_data import NUM_SEGMENTS, SIX, Labelled, load_task
from robopref.rewards.nearest import NearestConfig
from robopref.rewards.pearl import CPAConfig, FusedCPAConfig
from robopref.rewards.shared_features import SharedFeaturesConfig, preferred_by
from robopref.rewards.transfer import TaskSegments, standardise
from robopref.seeding import make_rng
from robopref.transfer.accuracy import measure
from robopref.transport import SolverConfig
from robopref.workers import Workers

NUM_SEEDS, NUM_LABELS = 10, (5, 10, 20)
CLEAR = 0.1
"""Difference of two returns, in deviations of all, from which on a person could tell them apart."""
PAPERS = tuple(
    (source, target)
    for source in ("button-press-v3", "faucet-close-v3")
    for target in ("window-open-v3", "door-close-v3", "drawer-open-v3", "sweep-into-v3")
)
"""The pairs of tasks that PEARL is recalled to have been shown on."""
BY_STEPS: dict[str, Any] = {
    "nearest": NearestConfig(),
    "cpa": CPAConfig(),
    "cpa, cosine": CPAConfig(metric="cosine"),
    "cpa, proximal": CPAConfig(solver=SolverConfig("proximal"), num_starts=2),
    "cpa, all vote": CPAConfig(choose="mean"),
    "cpa, 2 groups": CPAConfig(num_groups=2),
}
"""Methods that see observations and actions only."""
OURS = "shared-features"
BY_FEATURES: dict[str, Any] = {
    "cpa, features": CPAConfig(represented="features"),
    "fused-cpa": FusedCPAConfig(),
    "direct": SharedFeaturesConfig(sharpness=1.0, task_deviation=1e-3, num_votes=1),
    OURS: SharedFeaturesConfig(num_votes=1),
}
"""Methods that see task-agnostic features; tried with those of the goal and without."""
Scores = dict[str, float]


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Score all methods on ten seeds of all pairs of tasks, or two pairs on two seeds."""
    seeds = range(2 if quick else NUM_SEEDS)
    pairs = PAPERS[:2] if quick else tuple(permutations(SIX, 2))
    score = partial(score_seed, pairs=pairs, quick=quick)
    with workers:
        found = list(workers.map(score, seeds))
    return summarise(found) | {"pairs": len(pairs)} | _less_alike(quick)


def _less_alike(quick: bool) -> dict[str, Any]:
    if quick:
        return {}
    # It needs people's answers and other tasks, which a first look does without.
    from benchmarks.transfer_harder import run_harder, summarise_harder

    return summarise_harder(run_harder())


def summarise(found: Sequence[Sequence[tuple[str, str, Scores]]]) -> dict[str, Any]:
    """Return the figures and the table of the rows of each seed."""
    rows: dict[str, list[tuple[str, Scores]]] = defaultdict(list)
    for of_seed in found:
        for name, pair, scores in of_seed:
            rows[name].append((pair, scores))
    table = {name: _summary(scored) for name, scored in rows.items()}
    return {"figures": _figures(rows), "table": table, "seeds": len(found)}


def score_seed(
    seed: int, pairs: Sequence[tuple[str, str]], quick: bool
) -> list[tuple[str, str, Scores]]:
    """Return (method, source to target, scores) of one seed of the data."""
    rows: list[tuple[str, str, Scores]] = []
    names = sorted({name for pair in pairs for name in pair})
    tasks = {name: load_task(name, seed) for name in names}
    for source, target in pairs:
        scored = _transfers(BY_STEPS, tasks[source], tasks[target], seed)
        rows += [(name, f"{source} to {target}", scores) for name, scores in scored]
        drawn = make_rng(seed, "chance", source, target).random((NUM_SEGMENTS,) * 2)
        by_chance = score(0.5 + (drawn - drawn.T) / 2, tasks[target].returns)
        rows.append(("chance", f"{source} to {target}", by_chance))
    with_goals, without = tasks, {name: task.without_goals() for name, task in tasks.items()}
    for ending, tasks in (("", with_goals), (", no goals", without)):
        for source, target in pairs:
            scored = _by_features(tasks[source], tasks[target], seed)
            rows += [(name + ending, f"{source} to {target}", scores) for name, scores in scored]
        for target in () if quick else names:
            sources = [tasks[name].task for name in names if name != target]
            for k, scores in _few_shot(sources, tasks[target], NUM_LABELS):
                rows.append((f"{OURS}, five sources, k={k}{ending}", target, scores))
            for k, scores in _few_shot([], tasks[target], NUM_LABELS):
                rows.append((f"target alone, k={k}{ending}", target, scores))
    return rows


def _transfers(
    methods: Mapping[str, Any], source: Labelled, target: Labelled, seed: int
) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of methods that see no answer about the target."""
    rng = make_rng(seed, source.task.name, target.task.name)
    for name, config in methods.items():
        found = config.build().transfer([source.task], target.task.unanswered(), rng)
        yield name, score(found.preferred, target.returns)
        if name == "cpa":
            votes = [score(vote, target.returns)["accuracy"] for vote in found.votes]
            yield "cpa, mean of its starts", {"accuracy": float(np.mean(votes))}
            yield "cpa, worst of its starts", {"accuracy": float(np.min(votes))}


def _by_features(source: Labelled, target: Labelled, seed: int) -> Iterator[tuple[str, Scores]]:
    yield from _transfers(BY_FEATURES, source, target, seed)
    for k, scores in _few_shot([source.task], target, NUM_LABELS):
        if k:
            yield f"{OURS}, k={k}", scores


def _few_shot(
    sources: Sequence[TaskSegments], target: Labelled, numbers: Sequence[int]
) -> Iterator[tuple[int, Scores]]:
    """Yield the scores with 0 answers about the target (given sources) and with each number."""
    method = SharedFeaturesConfig().build()
    known, x = target.task.unanswered(), standardise(target.task.features)
    for k in (0, *numbers):
        known = ask(sources, known, target, k)
        if k or sources:
            preferred = preferred_by(method.belief(sources, known), x)
            yield k, score(preferred, target.returns, known)


def score(
    preferred: np.ndarray, returns: np.ndarray, answered: TaskSegments | None = None
) -> Scores:
    """Return how well the probabilities foretell the true order of all pairs that have one.

    Pairs that were answered are left out.
    """
    a, b = np.triu_indices(len(returns), 1)
    decided = returns[a] != returns[b]
    if answered is not None:
        decided &= answered.preference_matrix()[1][a, b] == 0
    a, b = a[decided], b[decided]
    p, is_b = preferred[b, a].clip(0, 1), returns[b] > returns[a]
    clear = np.abs(returns[b] - returns[a]) > CLEAR * returns.std()
    found = measure("all pairs", "returns", p, is_b)
    return {
        "accuracy": found.accuracy,
        "clear": measure("clear pairs", "returns", p[clear], is_b[clear]).accuracy,
        "brier": found.brier,
        "ece": found.ece,
        "coverage_at_90": found.coverage_at_90,
    }


def _summary(rows: Sequence[tuple[str, Scores]]) -> dict[str, Any]:
    """Return the mean of each score, the share of transfers below chance, and the worst pair."""
    accuracy = np.array([scores["accuracy"] for _, scores in rows])
    by_pair = _by_pair(rows)
    papers = [by_pair[f"{s} to {t}"] for s, t in PAPERS if f"{s} to {t}" in by_pair]
    return {
        **{key: float(np.mean([s[key] for _, s in rows])) for key in rows[0][1]},
        "below_half": float((accuracy < 0.5).mean()),
        "worst_pair": min(by_pair.values()),
        "papers_pairs": float(np.mean(papers)) if papers else None,
        "num": len(rows),
    }


def _by_pair(rows: Sequence[tuple[str, Scores]]) -> dict[str, float]:
    """Return the mean accuracy of each pair of tasks over the seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    for pair, scores in rows:
        values[pair].append(scores["accuracy"])
    return {pair: float(np.mean(of)) for pair, of in values.items()}


def _figures(rows: Mapping[str, Sequence[tuple[str, Scores]]]) -> dict[str, Any]:
    def figure(name: str, of: Callable[[Scores], float], floor: float, sign: int = 1) -> Any:
        values = np.array([of(scores) for _, scores in rows[name]])
        found = bootstrap(values)
        return found | {"floor": floor, "ok": bool(sign * found["value"] >= sign * floor)}

    def accuracy(scores: Scores) -> float:
        return scores["accuracy"]

    figures: dict[str, Any] = {}
    five = f"{OURS}, five sources, k="
    for end in ("", ", no goals"):
        shot = f"{OURS}, k=10{end}"
        figures |= {
            f"one source, accuracy{end}": figure(OURS + end, accuracy, 0.88),
            f"one source, below half{end}": figure(
                OURS + end, lambda s: float(s["accuracy"] < 0.5), 0.02, -1
            ),
            f"one source, ECE{end}": figure(OURS + end, lambda s: s["ece"], 0.06, -1),
            f"one source and 10 answers, accuracy{end}": figure(shot, accuracy, 0.95),
            f"one source and 10 answers, clear pairs{end}": figure(
                shot, lambda s: s["clear"], 0.95
            ),
        }
        if f"{five}0{end}" not in rows:
            continue
        figures[f"five sources, accuracy{end}"] = figure(f"{five}0{end}", accuracy, 0.94)
        figures[f"five sources, clear pairs{end}"] = figure(
            f"{five}0{end}", lambda s: s["clear"], 0.94
        )
        figures[f"five sources and 10 answers, accuracy{end}"] = figure(
            f"{five}10{end}", accuracy, 0.95
        )
        alone, ours = (_by_pair(rows[n]) for n in (f"target alone, k=10{end}", shot))
        won = sum(value > alone[pair.split(" to ")[1]] for pair, value in ours.items())
        figures[f"pairs where a source adds to 10 answers{end}"] = {
            "value": won, "n": len(ours), "floor": 25, "ok": won >= 25,
        }  # fmt: skip
    return figures
