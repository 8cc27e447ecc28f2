"""Rewards from labels of which some are wrong: RRL beside its alternatives, with the same labels.

Pairs of 25-step segments of Meta-World tasks (recipe `mixed`) are answered by their true returns,
with a share of the answers turned around, or as soft labels that err as transferred ones do. A
reward is scored on segments of other episodes: how many of all pairs it orders rightly, and the
rank correlation of its returns with the true ones. Members, steps and early stopping are the same
for all of a backbone, except for what the name says; doubting answers takes five more fits. Forty
labels are too few to stop early by. None is told how many are wrong.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.align_figures import bootstrap
from benchmarks.mixed_data import record
from robopref.align.reward_fitting import RewardFitting
from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.preferences.pool import sample_segments
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.rewards.robust import RobustMLPConfig, RobustTransformerConfig
from robopref.seeding import derive_uuid, make_rng
from robopref.workers import Workers

TASKS = ("button-press-v3", "drawer-open-v3")
NUM_SEEDS, NUM_TRANSFORMER_SEEDS = 4, 2
NUM_LABELS, LENGTH, NUM_TESTED = (40, 100), 25, 150
NUM_TEST_EPISODES = 16
FLIPS = {"all right": 0.0, "10 % wrong": 0.1, "20 % wrong": 0.2, "30 % wrong": 0.3}
SOFT = "soft, 20 % wrong"
HARD = ("20 % wrong", SOFT)
"""Kinds of labels that the slow backbone is tried on."""
SOFT_DEVIATION = 1.68
"""Deviation of a soft label's log-odds about half its square, on the side that is right: as unsure
as it ought to be, and on the wrong side in a fifth of the pairs."""
KINDS = (*FLIPS, SOFT)
RUNS = Path("runs/bench-robust-rewards")


def _fitted(config: MLPRewardConfig, **options: Any) -> MLPRewardConfig:
    return replace(config, fit=replace(config.fit, **options))


ENSEMBLE, TRANSFORMER, DOUBTED = "ensemble", "transformer", "ensemble, answers doubted"
MLP = MLPRewardConfig(n_action_steps=5)
METHODS = {
    "mlp": replace(MLP, num_members=1),
    ENSEMBLE: MLP,
    "ensemble, labels smoothed by 0.2": _fitted(MLP, label_smoothing=0.2),
    "ensemble, 20 % mistakes assumed": _fitted(MLP, mistake_rate=0.2),
    "ensemble, temperature 4": _fitted(MLP, temperature=4.0),
    DOUBTED: MLP,
    "robust ensemble": RobustMLPConfig(n_action_steps=5),
    TRANSFORMER: PreferenceTransformerConfig(),
    "robust transformer": RobustTransformerConfig(),
}
Scores = dict[str, float]
"""`accuracy` and `rank correlation` of a reward."""


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Score all ways on four seeds of two tasks; or on one, briefly and without transformers."""
    seeds = range(1 if quick else NUM_SEEDS)
    jobs = [(task, seed) for seed in seeds for task in TASKS]
    with workers:
        found = list(workers.map(partial(score_task, quick=quick), jobs))
    return {"figures": summarise(found), "tasks": TASKS, "seeds": len(seeds)}


def score_task(job: tuple[str, int], *, quick: bool) -> dict[tuple[str, str], Scores]:
    """Return the scores by way and labels, on one recording of a task with a seed."""
    task, seed = job
    store = record(task, seed, RUNS)
    rng = make_rng(seed, "robust-rewards", task)
    order = rng.permutation(len(store.rows))
    lengths = [(store.rows[i].episode_id, store.rows[i].length) for i in order]
    tested = draw_judged(store, dict(lengths[:NUM_TEST_EPISODES]), NUM_TESTED, rng)
    found = {}
    for num, kind in product(NUM_LABELS[:1] if quick else NUM_LABELS, HARD if quick else KINDS):
        pairs = draw_judged(store, dict(lengths[NUM_TEST_EPISODES:]), 2 * num, rng)
        answers = answer(pairs, kind, rng)
        for name in _tried(kind, seed, quick):
            reward = learn(METHODS[name], store, answers, name == DOUBTED)
            found[name, f"{num} labels, {kind}"] = score(reward, store, tested)
    return found


def _tried(kind: str, seed: int, quick: bool) -> list[str]:
    slow = not quick and seed < NUM_TRANSFORMER_SEEDS and kind in HARD
    # Doubting starts from answers, and soft labels are none.
    left_out = DOUBTED if kind == SOFT else ""
    return [name for name in METHODS if name != left_out and (slow or TRANSFORMER not in name)]


@dataclass(frozen=True)
class Judged:
    """Segments with their true returns."""

    segments: list[Segment]
    returns: np.ndarray


@dataclass(frozen=True)
class Answers:
    """Answers to queries of two, and the soft labels that stand for them, if there are any."""

    preferences: list[Preference]
    soft: np.ndarray | None


def answer(pairs: Judged, kind: str, rng: np.random.Generator) -> Answers:
    """Return labels of the kind for the first half of the segments against the second."""
    first, second = pairs.returns.reshape(2, -1)
    gap = second - first
    soft = None
    if kind == SOFT:
        middle = np.sign(gap) * SOFT_DEVIATION**2 / 2
        odds = rng.normal(middle, SOFT_DEVIATION)
        soft = (1 / (1 + np.exp(-odds))).astype(np.float32)
        says_b = odds > 0
    else:
        says_b = (gap > 0) ^ (rng.random(len(gap)) < FLIPS[kind])
    items = zip(pairs.segments[: len(gap)], pairs.segments[len(gap) :], strict=True)
    preferences = [
        Preference(derive_uuid(i, kind), Query(derive_uuid(i), two), Ranking.prefer(int(b)))
        for i, (two, b) in enumerate(zip(items, says_b, strict=True))
    ]
    return Answers(preferences, soft)


def learn(config: Any, store: EpisodeStore, answers: Answers, doubt: bool) -> Any:
    """Return a reward fitted to the answers, or to the soft labels where there are any."""
    asked = SimpleNamespace(reward=config, seed=0)
    fitting = RewardFitting(asked, answers.preferences, store.cut, doubt=doubt)
    if answers.soft is not None:
        fitting.view = replace(fitting.view, prefers_b=answers.soft)
    return fitting.fit("robust-rewards")[0]


def score(reward: Any, store: EpisodeStore, tested: Judged) -> Scores:
    """Return how well a reward orders segments that it was not fitted to."""
    returns = reward.segment_return(batch_segments([store.cut(s) for s in tested.segments]))
    a, b = np.triu_indices(len(returns), 1)
    truth = np.sign(tested.returns[b] - tested.returns[a])
    agrees = truth * np.sign(returns[b] - returns[a])
    return {
        "accuracy": float((agrees[truth != 0] + 1).mean() / 2),
        "rank correlation": float(spearmanr(returns, tested.returns).statistic),
    }


def draw_judged(
    store: EpisodeStore,
    lengths: dict[str, int],
    num: int,
    rng: np.random.Generator,
    *,
    length: int = LENGTH,
) -> Judged:
    """Return windows of the episodes whose lengths are given, with their true returns."""
    segments = sample_segments(lengths, length, num, rng)
    rewards = [store.episode(s.episode_id).reward[s.start : s.start + length] for s in segments]
    return Judged(segments, np.array([r.sum(dtype=np.float64) for r in rewards]))


def summarise(found: Sequence[Mapping[tuple[str, str], Scores]]) -> dict[str, Any]:
    """Return scores by way and labels, and what each way gains in a pair over the plain one.

    A gain is averaged over the kinds of labels first: those of one recording are no samples of
    their own.
    """
    figures: dict[str, Any] = {}
    for name, labels in dict.fromkeys(key for scores in found for key in scores):
        scored = [scores[name, labels] for scores in found if (name, labels) in scores]
        for figure in ("accuracy", "rank correlation"):
            values = np.array([score[figure] for score in scored])
            figures[f"{name}, {labels}, {figure}"] = bootstrap(values)
    for name, num in product(METHODS, NUM_LABELS):
        plain = TRANSFORMER if TRANSFORMER in name else ENSEMBLE
        gains = np.array([_gain(scores, name, plain, f"{num} labels") for scores in found])
        if name != plain and np.isfinite(gains).any():
            figures[f"{name}, {num} labels, accuracy over the {plain}'s"] = bootstrap(gains)
    return figures


def _gain(scores: Mapping[tuple[str, str], Scores], name: str, plain: str, labels: str) -> float:
    gains = [
        score["accuracy"] - scores[plain, kind]["accuracy"]
        for (of, kind), score in scores.items()
        if of == name and kind.startswith(labels)
    ]
    return float(np.mean(gains)) if gains else math.nan
