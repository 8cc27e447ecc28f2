"""Rewards from carried labels, on episodes that nothing was learned from, and on people's labels.

Simulated: on each of six Meta-World tasks, 64 segments of two thirds of the episodes are labelled
by the truth, by five other tasks (shared features, with no answer about the task or with ten), or
with a few answers only; a reward that was learned from these labels orders 150 segments of the
other episodes.

People: their 300 answers on robomimic's Lift, Can and Square, in five folds and carried from task
to task. Answers are few, so that a Wilson interval stands beside every share. Folds of pairs are
how linear rewards reached .56, .71 and .83; in those that keep recordings apart, answers that share
a recording with a tested pair are left out of the training as well.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.align_figures import bootstrap
from benchmarks.carried_labels import (
    Labels,
    ask,
    carry_labels,
    learn_reward,
    load_sources,
    true_labels,
)
from benchmarks.mixed_data import record
from benchmarks.robust_rewards import NUM_TEST_EPISODES, NUM_TESTED, Judged, draw_judged, score
from benchmarks.transfer_data import LENGTH, NUM_SEGMENTS, RUNS, SIX, load_task
from robopref.data.episode import Episode, batch_segments
from robopref.envs.features import task_features
from robopref.envs.scene import read_scene
from robopref.preferences.importers import PreferenceSet, Source
from robopref.preferences.importers_recordings import RECORDING
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, standardise
from robopref.seeding import make_rng
from robopref.statistics import wilson
from robopref.transfer.tasks import make_task
from robopref.types import STATE, SegmentBatch

NUM_SEEDS, NUM_ANSWERS = 2, (10, 20)
REWARD = MLPRewardConfig(n_action_steps=5)
HUMAN = Path(__file__).parent / "data" / "human_preferences"
PEOPLES = {"lift": 0.56, "can": 0.71, "square": 0.83}
"""What a linear reward on nine features of actions and motion reached, in folds of pairs."""
NUM_FOLDS, NUM_SPLITS = 5, 1
Scores = dict[str, float]


def run(quick: bool) -> dict[str, Any]:
    """Score on two seeds of six tasks and on people's answers; or on one task, and one split."""
    torch.set_num_threads(1)
    simulated: dict[str, list[Scores]] = defaultdict(list)
    for seed in range(1 if quick else NUM_SEEDS):
        for task in SIX[-1:] if quick else SIX:
            for name, scores in score_task(task, seed):
                simulated[name].append(scores)
            print(task, seed, {name: round(of[-1]["accuracy"], 3)
                               for name, of in simulated.items()}, flush=True)  # fmt: skip
    figures = {
        f"{name}, {key}": bootstrap(np.array([scores[key] for scores in rows]))
        for name, rows in simulated.items()
        for key in rows[0]
    }
    return {"figures": figures | score_people(1 if quick else NUM_SPLITS)}


def score_task(task: str, seed: int) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of a reward by the labels that it was learned from."""
    store = record(task, seed, RUNS)
    rng = make_rng(seed, "transfer-rewards", task)
    rows = [store.rows[i] for i in rng.permutation(len(store.rows))]
    tested, learned = (
        {row.episode_id: row.length for row in part}
        for part in (rows[:NUM_TEST_EPISODES], rows[NUM_TEST_EPISODES:])
    )
    test = draw_judged(store, tested, NUM_TESTED, rng, length=LENGTH)
    judged = draw_judged(store, learned, NUM_SEGMENTS, rng, length=LENGTH)
    segments = batch_segments([store.cut(segment) for segment in judged.segments])
    target = make_task(task, store, judged.segments)
    for name, labels in _kinds_of_labels(load_sources(task, seed), target, judged, rng):
        reward = learn_reward(segments, judged, labels, seed, REWARD)
        yield name, score(reward, store, test) | {"label accuracy": labels.accuracy(judged)}


def _kinds_of_labels(
    sources: Sequence[TaskSegments],
    target: TaskSegments,
    judged: Judged,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Labels]]:
    yield "true labels", true_labels(judged, *np.triu_indices(len(target), 1))
    yield "carried labels", carry_labels(sources, target, rng)
    answered = ask(sources, target, judged, NUM_ANSWERS[0])
    yield f"carried labels and {NUM_ANSWERS[0]} answers", carry_labels(sources, answered, rng)
    for num in NUM_ANSWERS:
        answered = ask([], target, judged, num)
        yield (
            f"{num} answers alone",
            Labels(answered.a, answered.b, answered.prefers_b),
        )


@dataclass(frozen=True, eq=False)
class People:
    """What people said about segments of one task.

    Args:
        task: The segments, with the decided answers.
        segments: The segments themselves.
        judged: The segments; there is no true return.
        recording: Number of the recording that each segment is a window of.
    """

    task: TaskSegments
    segments: SegmentBatch
    judged: Judged
    recording: np.ndarray

    def apart(self, pairs: np.ndarray, tested: np.ndarray) -> np.ndarray:
        """Return the pairs that share no recording with a tested one."""
        a, b = self.recording[self.task.a], self.recording[self.task.b]
        seen = np.concatenate([a[tested], b[tested]])
        kept: np.ndarray = pairs[~(np.isin(a[pairs], seen) | np.isin(b[pairs], seen))]
        return kept


def load_people(name: str) -> People:
    """Return the decided answers about one of robomimic's tasks."""
    found = PreferenceSet.from_source(Source(HUMAN / f"{name}_ph_train.npz"))
    episodes = {episode.id: episode for episode in found.episodes}
    pairs = [pair for preference in found.preferences for pair in preference.segment_pairs()]
    segments = list(dict.fromkeys(segment for pair in pairs for segment in pair[:2]))
    place = {segment: index for index, segment in enumerate(segments)}
    a, b, prefers_b = zip(*((place[i], place[j], p) for i, j, p in pairs if p != 0.5), strict=True)
    cut = batch_segments([segment.cut(episodes[segment.episode_id]) for segment in segments])
    features = [_features(episodes[segment.episode_id]) for segment in segments]
    steps = np.concatenate([cut.obs[STATE], cut.action], axis=-1)
    task = TaskSegments(
        name, steps, np.stack(features), np.array(a), np.array(b), np.array(prefers_b)
    )
    names = [episodes[segment.episode_id].metadata[RECORDING] for segment in segments]
    recording = np.unique(names, return_inverse=True)[1]
    return People(task, cut, Judged(segments, np.zeros(len(segments))), recording)


def _features(episode: Episode) -> np.ndarray:
    """Return the features of an imported episode, which is one segment."""
    scene = read_scene(episode.env, episode.obs[STATE])
    return task_features(scene, 0, episode.action)


def score_people(num_splits: int) -> dict[str, Any]:
    """Return the accuracy on people's answers, within each task and carried from others."""
    people = {name: load_people(name) for name in PEOPLES}
    simulated = [load_task(name, 0).task for name in SIX]
    figures: dict[str, Any] = {}
    for name, target in people.items():
        others = [other.task for key, other in people.items() if key != name]
        linear = {"linear": [], "linear and the other two": others}
        ways: dict[str, Callable[[TaskSegments], np.ndarray]] = {
            key: partial(_linear, tasks) for key, tasks in linear.items()
        }
        ways["mlp"] = partial(_mlp, target)
        for way, learn in ways.items():
            for apart in (False, True):
                figure = cross_validate(target, learn, num_splits, apart=apart)
                if not apart and way != "linear and the other two":
                    figure |= {"floor": PEOPLES[name], "ok": figure["value"] >= PEOPLES[name]}
                folds = "recordings apart" if apart else "folds of pairs"
                figures[f"people, {name}, {way}, {folds}"] = figure
        unanswered = target.task.unanswered()
        carried = {other.name: [other] for other in others}
        carried |= {"the other two": others, "Meta-World": simulated}
        for source, tasks in carried.items():
            right = _right(_linear(tasks, unanswered), target, np.arange(len(target.task.a)))
            figures[f"people, {name}, carried from {source}"] = _share(right.sum(), len(right))
    return figures


def cross_validate(
    people: People,
    learn: Callable[[TaskSegments], np.ndarray],
    num_splits: int,
    *,
    apart: bool,
) -> dict[str, Any]:
    """Return the share of decided answers that rewards fitted to the others foretell.

    The mean over several splits into folds; the interval is that of as many answers as there are.

    Args:
        people: The answers.
        learn: Returns what each segment is worth, from the answers that may be learned from.
        num_splits: Splits into five folds.
        apart: Learn from no answer that shares a recording with a tested one.
    """
    num, right, trained = len(people.task.a), 0.0, []
    for split in range(num_splits):
        order = make_rng(split, "people", people.task.name).permutation(num)
        for fold in range(NUM_FOLDS):
            tested = order[fold::NUM_FOLDS]
            rest = np.setdiff1d(order, tested)
            rest = people.apart(rest, tested) if apart else rest
            right += _right(learn(people.task.with_pairs(rest)), people, tested).sum()
            trained.append(len(rest))
    return _share(right / num_splits, num) | {"answers_learned_from": float(np.mean(trained))}


def _linear(sources: Sequence[TaskSegments], target: TaskSegments) -> np.ndarray:
    belief = SharedFeaturesConfig().build().belief(sources, target)
    values: np.ndarray = standardise(target.features) @ belief.mean
    return values


def _mlp(people: People, known: TaskSegments) -> np.ndarray:
    if not len(known.a):
        return np.zeros(len(known))
    labels = Labels(known.a, known.b, known.prefers_b)
    reward = learn_reward(people.segments, people.judged, labels, 0, REWARD)
    return np.asarray(reward.segment_return(people.segments))


def _right(values: np.ndarray, people: People, pairs: np.ndarray) -> np.ndarray:
    """Return 1 for each answer that the values foretell, and a half where they say nothing."""
    t = people.task
    says = np.sign(values[t.b[pairs]] - values[t.a[pairs]])
    right: np.ndarray = 0.5 + 0.5 * says * np.sign(t.prefers_b[pairs] - 0.5)
    return right


def _share(right: float, num: int) -> dict[str, Any]:
    interval = wilson(round(right), num)
    return {"value": float(right / num), "low": interval.low, "high": interval.high, "n": num}
