"""One transfer from loaded tasks to a verdict: nothing is written.

Shapes: M target segments, P pairs, S of them about which a method says something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from robopref.errors import DataError
from robopref.rewards import TRANSFERS
from robopref.rewards.nearest import NearestConfig
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, Transferred, have_features
from robopref.seeding import make_rng
from robopref.transfer.accuracy import Accuracy, measure
from robopref.transfer.correspondence import compare_meaning
from robopref.transfer.loading import Loaded
from robopref.transfer.source_check import foretold_share
from robopref.transfer.verdict import Verdict, judge

OF_REWARDS, OF_ANSWERS = "the recorded rewards", "the target's answers"
FOLLOWS_REWARDS = 0.8
"""Share of a task's answers that its recorded rewards foretell, from which on the rewards of the
target count as the truth; with less, something else is preferred than what they pay."""
NUM_FOLDS = 5
FEWEST_FOLLOWED = 10
"""Answers, below which nothing is known of that."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a transfer found.

    Args:
        method: Name of the method.
        sources: Where the answers are.
        target: Where they were carried.
        transferred: The probabilities, and the votes.
        diagnosis: What can be known without the truth (`diagnose`).
        measured: Accuracies where the truth is known, those of the method first.
        notes: What else has to be said of the measurement.
        verdict: Whether to trust it.
    """

    method: str
    sources: tuple[Loaded, ...]
    target: Loaded
    transferred: Transferred
    diagnosis: dict[str, float]
    measured: tuple[Accuracy, ...]
    notes: tuple[str, ...]
    verdict: Verdict

    @property
    def own(self) -> list[Accuracy]:
        """Accuracies of the method, without those of others beside it."""
        return [each for each in self.measured if each.method == self.method]

    def figures(self) -> dict[str, Any]:
        """Return what is known of the transfer as plain values."""
        return {
            "diagnosis": self.diagnosis,
            "measured": [vars(each) for each in self.measured],
            "notes": list(self.notes),
            "verdict": vars(self.verdict),
        }


@dataclass(frozen=True, eq=False)
class Truth:
    """Pairs of the target whose order is known.

    Args:
        name: Who knows it.
        a: First segments.
        b: Second segments.
        is_b: Whether the second is better.
    """

    name: str
    a: Int[np.ndarray, " P"]
    b: Int[np.ndarray, " P"]
    is_b: Bool[np.ndarray, " P"]

    def measure(self, method: str, transferred: Transferred) -> list[Accuracy]:
        """Return how well `transferred` foretells it where it speaks; none if it never does."""
        probability, is_b = self.foretold(transferred)
        return [measure(method, self.name, probability, is_b)] if len(is_b) else []

    def foretold(
        self, transferred: Transferred
    ) -> tuple[Float[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
        """Return how probably b is preferred where `transferred` speaks, and whether it is."""
        said = transferred.weight[self.b, self.a] > 0
        return transferred.preferred[self.b, self.a][said], self.is_b[said]


def transfer(config: Any, sources: Sequence[Loaded], target: Loaded, *, seed: int) -> Outcome:
    """Carry answers over, measure what can be measured, and judge it.

    Args:
        config: Config of a method of `TRANSFERS`.
        sources: Where the answers are.
        target: Where they are wanted; its own answers are used too.
        seed: Decides everything random.

    Raises:
        DataError: Sources and target do not fit, or the method's probabilities are none.
    """
    name = TRANSFERS.name_of(type(config))
    tasks = [source.task for source in sources]
    found = _run(config, tasks, target.task, seed)
    off = float(np.abs(found.preferred + found.preferred.T - 1).max())
    if off > 1e-6:
        raise DataError(
            f"What '{name}' returned are no probabilities: those of a pair and of the same pair "
            f"the other way round must add up to 1, and are off by {off:.2f}. A plan has to be "
            "normalised for that (`normalised`)."
        )
    measured: list[Accuracy] = []
    notes = []
    truth, note = by_rewards(sources, target)
    notes += [note] if note else []
    if truth is not None:
        measured += truth.measure(name, found)
    answers = by_answers(target.task)
    beside: list[Accuracy] = []
    if answers is not None:
        measured += measure_answers(config, tasks, target.task, seed=seed)
        alone = _run(config, tasks, target.task.unanswered(), seed)
        beside += answers.measure(f"{name}, without them", alone)
        notes.append(
            "Each of the target's answers measures a transfer that used the other ones, and that "
            "without them one that used none."
        )
    diagnosis = diagnose(found, tasks, target.task, make_rng(seed, "folds"))
    verdict = judge(diagnosis, measured)
    measured += beside
    if truth is not None:
        measured += _beside(name, tasks, target.task, truth, seed)
    return Outcome(
        name, tuple(sources), target, found, diagnosis, tuple(measured), tuple(notes), verdict
    )


def diagnose(
    found: Transferred,
    sources: Sequence[TaskSegments],
    target: TaskSegments,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return what can be known without the truth.

    `Transferred.diagnose`, the meaning, and what is foretold of the sources' own answers.
    """
    meanings = [compare_meaning(source, target, found) for source in sources]
    return found.diagnose() | {
        "meaning": float(np.mean(meanings)),
        "source": foretold_share(sources, rng),
    }


def by_rewards(sources: Sequence[Loaded], target: Loaded) -> tuple[Truth | None, str]:
    """Return the pairs that recorded rewards decide, or None with the reason why they do not count.

    Rewards are the truth only about what they pay for, which answers need not be about: they count
    where the answers about the sources, and about the target, follow them.
    """
    returns = target.recorded_returns
    if returns is None:
        return None, ""
    shares = {task.name: _follows_rewards(task) for task in (*sources, target)}
    follows = {name: share for name, share in shares.items() if share is not None}
    worst = min(follows, key=follows.__getitem__, default="")
    if not set(follows).intersection(source.name for source in sources):
        why = "too few answers about the source tell whether they follow its rewards"
    elif follows[worst] < FOLLOWS_REWARDS:
        why = f"only {follows[worst]:.0%} of the answers about '{worst}' follow its rewards"
    else:
        return _ordered_by(returns), ""
    return None, f"The recorded rewards of the target do not count as the truth: {why}."


def _ordered_by(returns: Float[np.ndarray, " M"]) -> Truth:
    a, b = np.triu_indices(len(returns), 1)
    decided = returns[a] != returns[b]
    a, b = a[decided], b[decided]
    return Truth(OF_REWARDS, a, b, returns[b] > returns[a])


def by_answers(task: TaskSegments) -> Truth | None:
    """Return the pairs of the target that its answers decide."""
    decided = task.prefers_b != 0.5
    if not decided.any():
        return None
    a, b = task.a[decided], task.b[decided]
    return Truth(OF_ANSWERS, a, b, task.prefers_b[decided] > 0.5)


def measure_answers(
    config: Any, sources: Sequence[TaskSegments], target: TaskSegments, *, seed: int
) -> list[Accuracy]:
    """Return how well a transfer that uses the target's other answers foretells each of them.

    A part of them at a time is left out; answers about one pair are left out together. None where
    no answer decides anything, or the method says nothing about any.
    """
    if not target.num_decided:
        return []
    pairs = np.sort(np.stack([target.a, target.b]), axis=0)
    group = np.unique(pairs, axis=1, return_inverse=True)[1]
    fold = make_rng(seed, "answers").permutation(group.max() + 1)[group] % NUM_FOLDS
    probability, is_b = [], []
    for number in np.unique(fold):
        asked = fold == number
        truth = by_answers(target.with_pairs(asked))
        if truth is not None:
            others = target.with_pairs(~asked)
            said, right = truth.foretold(_run(config, sources, others, seed))
            probability.append(said)
            is_b.append(right)
    name, num = TRANSFERS.name_of(type(config)), sum(map(len, is_b))
    if not num:
        return []
    return [measure(name, OF_ANSWERS, np.concatenate(probability), np.concatenate(is_b))]


def _run(
    config: Any, sources: Sequence[TaskSegments], target: TaskSegments, seed: int
) -> Transferred:
    rng = make_rng(seed, "transfer", target.name)
    found: Transferred = config.build().transfer(sources, target, rng)
    return found


def _beside(
    name: str, sources: Sequence[TaskSegments], target: TaskSegments, truth: Truth, seed: int
) -> list[Accuracy]:
    """Return what simpler methods reach on the same pairs, for what a method is worth."""
    others: dict[str, Any] = {}
    if have_features([*sources, target]):
        others["shared-features"] = SharedFeaturesConfig()
    shape = target.steps.shape[1:]
    if all(source.steps.shape[1:] == shape for source in sources):
        others["nearest"] = NearestConfig()
    return [
        accuracy
        for other, config in others.items()
        if other != name
        for accuracy in truth.measure(other, _run(config, sources, target, seed))
    ]


def _follows_rewards(source: Loaded) -> float | None:
    returns, task = source.recorded_returns, source.task
    if returns is None:
        return None
    difference = returns[task.b] - returns[task.a]
    decided = (task.prefers_b != 0.5) & (difference != 0)
    if decided.sum() < FEWEST_FOLLOWED:
        return None
    return float(((difference > 0) == (task.prefers_b > 0.5))[decided].mean())
