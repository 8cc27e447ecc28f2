"""Preferences carried from one task to another: what a method is given, and what it returns.

A task is a set of segments with some answers about them: many for a source, few or none for the
target. A method says how probably each target segment is preferred to each other one, from which
pairs for any reward are drawn. Methods are registered in `robopref.rewards.TRANSFERS`.

Shapes: N segments of a source, M of the target, S steps of a segment, D entries of a step,
F task-agnostic features, P answered pairs, R restarts, bootstraps or other votes.
Notation: `preferred[i, j]` is the probability that i is preferred to j, so that `prefers_b` of the
pair (a, b) is `preferred[b, a]`, and a matrix and its transpose add up to 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from robopref.errors import DataError, check_between

FEWEST_SEGMENTS = 4
"""With fewer, distances inside a task say nothing about which segment corresponds to which."""


@dataclass(frozen=True, eq=False)
class TaskSegments:
    """Segments of one task, and what is known about which is better.

    Args:
        name: The task, for messages.
        steps: Observation and action of each step, (N, S, D).
        features: What the segments do, in numbers that mean the same in every task, (N, F); F is 0
            where nobody says what the observations mean.
        a: First segment of each answered pair.
        b: Second segment.
        prefers_b: Probability that the second is preferred; 0.5 judged equal.

    Raises:
        DataError: There are fewer than four segments, a number is not finite, or all segments are
            the same.
        ValueError: Shapes disagree, or an answer names no segment.
    """

    name: str
    steps: Float[np.ndarray, "N S D"]
    features: Float[np.ndarray, "N F"]
    a: Int[np.ndarray, " P"] = field(default_factory=lambda: np.zeros(0, np.int64))
    b: Int[np.ndarray, " P"] = field(default_factory=lambda: np.zeros(0, np.int64))
    prefers_b: Float[np.ndarray, " P"] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Check that there is something to align."""
        num = len(self.steps)
        if num < FEWEST_SEGMENTS:
            raise DataError(
                f"'{self.name}' has {num} segments; a transfer needs at least {FEWEST_SEGMENTS}. "
                "Answer about more of them, record more episodes, or cut shorter ones."
            )
        for what in ("steps", "features", "prefers_b"):
            if not np.isfinite(getattr(self, what)).all():
                raise DataError(f"'{self.name}' has numbers in `{what}` that are not finite.")
        if len(self.features) != num:
            raise ValueError(f"`features` must have {num} rows, got {len(self.features)}.")
        if not len(self.a) == len(self.b) == len(self.prefers_b):
            raise ValueError("`a`, `b` and `prefers_b` must be of one length.")
        places = np.concatenate([self.a, self.b])
        if ((places < 0) | (places >= num)).any():
            raise ValueError(f"`a` and `b` must lie between 0 and {num - 1}.")
        if not np.ptp(self.steps, axis=0).any():
            raise DataError(
                f"All segments of '{self.name}' are the same; nothing tells them apart."
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.steps)

    @property
    def num_decided(self) -> int:
        """How many answers prefer one segment to the other."""
        return int((self.prefers_b != 0.5).sum())

    def unanswered(self) -> "TaskSegments":
        """Return the segments with nothing known about them."""
        return TaskSegments(self.name, self.steps, self.features)

    def with_pairs(self, kept: np.ndarray) -> "TaskSegments":
        """Return the segments with the chosen answers only, by number or as a mask."""
        return replace(self, a=self.a[kept], b=self.b[kept], prefers_b=self.prefers_b[kept])

    def with_answers(self, a: np.ndarray, b: np.ndarray, prefers_b: np.ndarray) -> "TaskSegments":
        """Return the segments with these answers beside those that are known."""
        return replace(
            self,
            a=np.concatenate([self.a, a]),
            b=np.concatenate([self.b, b]),
            prefers_b=np.concatenate([self.prefers_b, prefers_b]),
        )

    def preference_matrix(self) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "N N"]]:
        """Return how probably each segment is preferred to each other one, and what is known.

        Where a pair was answered several times, the mean. Unknown entries are 0.5; the second
        matrix is 1 for what is known, also on the diagonal.
        """
        total, count = np.zeros((2, len(self), len(self)))
        np.add.at(total, (self.b, self.a), self.prefers_b)
        np.add.at(total, (self.a, self.b), 1 - self.prefers_b)
        np.add.at(count, (self.b, self.a), 1)
        np.add.at(count, (self.a, self.b), 1)
        np.fill_diagonal(total, 0.5)
        np.fill_diagonal(count, 1)
        return np.where(count > 0, total / np.maximum(count, 1), 0.5), (count > 0).astype(float)


@dataclass(frozen=True, eq=False)
class Transferred:
    """What a method says about the target.

    Args:
        preferred: How probably each target segment is preferred to each other one, (M, M).
        weight: How much of an answer stands behind each entry, in [0, 1]; 0 where the method
            abstains.
        votes: `preferred` by each restart, bootstrap or source alone, (R, M, M).
        plan: Which source segment corresponds to which target segment, (N, M); of the first
            source, where a method has such a thing.
        across: Share of each source's answers that the other sources foretell; NaN where there is
            one source only, or the method does not say.
    """

    preferred: Float[np.ndarray, "M M"]
    weight: Float[np.ndarray, "M M"]
    votes: Float[np.ndarray, "R M M"]
    plan: Float[np.ndarray, "N M"] | None = None
    across: float = float("nan")

    def diagnose(self) -> dict[str, float]:
        """Return what can be known without any target label.

        `expected_accuracy` is how often the more probable order is right if the probabilities are;
        `wrong_way` the share of votes that order the target the other way round than all of them
        together, the sign ambiguity of an alignment by distances; `agreement` the mean correlation
        of a vote with the others; `abstained` the share of pairs about which nothing is said;
        `across` how well the sources foretell each other, as they have to foretell the target.
        """
        upper = np.triu_indices(len(self.preferred), 1)
        known = self.weight[upper] > 0
        probability = self.preferred[upper][known]
        votes = self.votes[:, *upper][:, known] - 0.5
        return {
            "expected_accuracy": _mean(np.maximum(probability, 1 - probability)),
            "wrong_way": _mean(correlations(votes, probability - 0.5) < 0),
            "agreement": _agreement(votes),
            "abstained": float(1 - known.mean()),
            "across": self.across,
        }

    def pairs(
        self, num: int, rng: np.random.Generator, *, least_confidence: float = 0.5
    ) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Return pairs a, b and `prefers_b`, drawn among those confident enough.

        Args:
            num: How many; fewer where there are not so many.
            rng: Draws them.
            least_confidence: Leaves out pairs whose more probable order is less probable.

        Raises:
            DataError: None is left.
        """
        check_between("least_confidence", least_confidence, 0.5, 1)
        a, b = np.triu_indices(len(self.preferred), 1)
        prefers_b = self.preferred[b, a]
        sure = np.maximum(prefers_b, 1 - prefers_b) >= least_confidence
        kept = np.flatnonzero(sure & (self.weight[b, a] > 0))
        if not len(kept):
            raise DataError(
                f"No pair was transferred with a confidence of {least_confidence:g}: the tasks say "
                "too little about each other. Answer a few queries about the target."
            )
        chosen = rng.permutation(kept)[:num]
        return a[chosen], b[chosen], prefers_b[chosen]


@runtime_checkable
class TransferMethod(Protocol):
    """Carries preferences from labelled tasks to another one."""

    def transfer(
        self, sources: Sequence[TaskSegments], target: TaskSegments, rng: np.random.Generator
    ) -> Transferred:
        """Return how probably each target segment is preferred to each other one."""
        ...


def check_tasks(
    sources: Sequence[TaskSegments],
    target: TaskSegments,
    *,
    same_features: bool = True,
    same_steps: bool = False,
) -> None:
    """Check that preferences can be carried from the sources to the target.

    Args:
        sources: Where answers are.
        target: Where they are wanted.
        same_features: Whether the method compares features.
        same_steps: Whether the method needs segments of one length and entries of one meaning.

    Raises:
        DataError: Sources and target do not fit, or no source answer decides anything.
    """
    if not sources:
        raise DataError("A transfer needs at least one source task with answers.")
    for source in sources:
        if not source.num_decided:
            raise DataError(
                f"No answer about '{source.name}' prefers one segment to another: there is nothing "
                "to carry over."
            )
        if same_features:
            _check_features(source, target)
        shapes = source.steps.shape[1:], target.steps.shape[1:]
        if same_steps and shapes[0] != shapes[1]:
            raise DataError(
                f"Segments of '{source.name}' and '{target.name}' have steps of shapes {shapes[0]} "
                f"and {shapes[1]} (length, observation and action). A method that compares steps "
                "needs the same; take one that compares features."
            )


def _check_features(source: TaskSegments, target: TaskSegments) -> None:
    for task in (source, target):
        if not task.features.shape[1]:
            raise DataError(
                f"This method compares features, and '{task.name}' has none: what is hand, object "
                "and goal in its observations is not known. Take --method cpa, which compares "
                "segments of one task alone, or --method nearest where both tasks have the same "
                "observations; or say it with a method `read_scene` of the environment's config "
                "(docs/environments.md)."
            )
    if source.features.shape[1] != target.features.shape[1]:
        raise DataError(
            f"'{source.name}' has {source.features.shape[1]} features and '{target.name}' "
            f"{target.features.shape[1]}; they must be the same ones."
        )


def have_features(tasks: Iterable[TaskSegments]) -> bool:
    """Return whether features of these tasks can be compared."""
    return all(task.features.shape[1] for task in tasks)


def standardise(values: np.ndarray, limit: float = 3.0) -> np.ndarray:
    """Return columns with mean 0 and deviation 1, cut off at `limit`; constant ones are 0."""
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    constant = deviation <= 1e-9 * (1 + np.abs(values).max(axis=0, initial=0))
    scaled: np.ndarray = (centred / np.where(constant, np.inf, deviation)).clip(-limit, limit)
    return scaled


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def correlations(
    votes: Float[np.ndarray, "R P"], reference: Float[np.ndarray, " P"]
) -> Float[np.ndarray, " R"]:
    """Return the cosine of each vote with the reference, both less one half."""
    sizes = np.linalg.norm(votes, axis=1) * np.linalg.norm(reference)
    found: np.ndarray = votes @ reference / np.maximum(sizes, 1e-12)
    return found


def _agreement(votes: Float[np.ndarray, "R P"]) -> float:
    if len(votes) < 2:
        return float("nan")
    unit = votes / np.maximum(np.linalg.norm(votes, axis=1, keepdims=True), 1e-12)
    total = unit @ unit.T
    return float((total.sum() - np.trace(total)) / (len(votes) * (len(votes) - 1)))
