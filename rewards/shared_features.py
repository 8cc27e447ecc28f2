r"""Transfer without an alignment: one linear reward on features that mean the same in every task.

Each source gives weights by Bradley-Terry on its own standardised features. The target's weights
are drawn around their mean, and those that matter may differ more. Answers about the target turn
the prior into a posterior (Laplace), and the probability of a preference is averaged over it, so
that confidence counts what is not known about the target. Votes are bootstraps over a source's
segments.

This is the line that an alignment by distances has to be worth something beside; on tasks whose
rewards are alike it is ahead of it (`robopref bench transfer`).

Shapes: N segments of a source, M of the target, F features, P pairs, R votes.
Notation: w ~ N(mean, covariance) are the target's weights, x the standardised features.

References:
    [1] Bishop, Pattern recognition and machine learning, 2006, sections 4.4 (Laplace) and 4.5.2
        (the predictive probability, eq. 4.153).
    [2] Houlsby et al., Bayesian active learning for classification and preference learning, 2011,
        arXiv:1112.5745, section 3 (what to ask).
    [3] Boyd and Vandenberghe, Convex optimization, 2004, algorithm 9.5 (damped Newton steps).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from robopref.errors import check_above, check_at_least
from robopref.preferences.pool import pair_codes
from robopref.rewards.transfer import TaskSegments, Transferred, check_tasks, standardise

MOST_STEPS, TOLERANCE, SHORTEST_STEP = 50, 1e-10, 1e-6
"""Of the Newton steps to the most probable weights, which mostly take fewer than ten."""


@dataclass(frozen=True)
class SharedFeaturesConfig:
    """A linear reward on task-agnostic features, whose weights the target's answers correct."""

    decay: float = 0.07
    """Weight of the squared weights beside the mean loss of a source's pairs."""
    sharpness: float = 4.0
    """How much surer the target's weights are than those of a source, which `decay` makes small."""
    task_deviation: float = 0.8
    """Standard deviation of a weight between tasks, where it matters as much as most do."""
    num_votes: int = 20
    """Bootstraps over the sources' segments that vote."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("decay", self.decay, 0)
        check_above("sharpness", self.sharpness, 0)
        check_above("task_deviation", self.task_deviation, 0)
        check_at_least("num_votes", self.num_votes, 1)

    def build(self) -> "SharedFeatures":
        """Return the method."""
        return SharedFeatures(self)


@dataclass(frozen=True, eq=False)
class Belief:
    """A normal distribution of the target's weights.

    Args:
        mean: Most probable weights.
        precision: Inverse of their covariance.
    """

    mean: Float[np.ndarray, " F"]
    precision: Float[np.ndarray, "F F"]

    def update(
        self, difference: Float[np.ndarray, "P F"], prefers_b: Float[np.ndarray, " P"]
    ) -> "Belief":
        """Return what is believed after answers ([1], section 4.4).

        Args:
            difference: Features of b less those of a.
            prefers_b: What was answered.
        """
        if not len(difference):
            return self

        mean = self._most_probable(difference, prefers_b)
        p = expit(difference @ mean)
        return Belief(mean, self.precision + (difference.T * (p * (1 - p))) @ difference)

    def _most_probable(self, difference: np.ndarray, prefers_b: np.ndarray) -> np.ndarray:
        """Return the weights that answers and belief together make most probable ([3])."""

        def loss(w: np.ndarray) -> float:
            logit, off = difference @ w, w - self.mean
            answers = (np.logaddexp(0, logit) - prefers_b * logit).sum()
            return float(answers + off @ self.precision @ off / 2)

        w, value = self.mean, loss(self.mean)
        for _ in range(MOST_STEPS):
            p = expit(difference @ w)
            slope = difference.T @ (p - prefers_b) + self.precision @ (w - self.mean)
            curvature = self.precision + (difference.T * (p * (1 - p))) @ difference
            step = np.linalg.solve(curvature, slope)
            share, decrease = 1.0, float(slope @ step)
            if decrease < TOLERANCE:
                break
            while (found := loss(w - share * step)) > value - share * decrease / 4:
                share /= 2
                if share < SHORTEST_STEP:
                    return w
            w, value = w - share * step, found
        return w

    def probability(self, difference: Float[np.ndarray, "P F"]) -> Float[np.ndarray, " P"]:
        """Return how probably b is preferred, over what is not known of the weights."""
        logit, variance = self._logits(difference)
        found: np.ndarray = expit(logit / np.sqrt(1 + np.pi * variance / 8))
        return found

    def information(self, difference: Float[np.ndarray, "P F"]) -> Float[np.ndarray, " P"]:
        """Return how much an answer about each pair would tell about the weights [bit] ([2])."""
        logit, variance = self._logits(difference)
        p = expit(logit / np.sqrt(1 + np.pi * variance / 8)).clip(1e-12, 1 - 1e-12)
        entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
        c = np.sqrt(np.pi * np.log(2) / 2)
        expected = c / np.sqrt(variance + c**2) * np.exp(-(logit**2) / (2 * (variance + c**2)))
        # The two are approximations, whose difference may fall just below 0.
        information: np.ndarray = np.maximum(entropy - expected, 0.0)
        return information

    def _logits(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spread = np.linalg.solve(self.precision, difference.T)
        return difference @ self.mean, np.einsum("pf,fp->p", difference, spread)


class SharedFeatures:
    """Weights learned from all sources, corrected by the target's own answers.

    Args:
        config: How it is built.
    """

    def __init__(self, config: SharedFeaturesConfig) -> None:
        self.config = config

    def transfer(
        self, sources: Sequence[TaskSegments], target: TaskSegments, rng: np.random.Generator
    ) -> Transferred:
        """Return how probably each target segment is preferred to each other one.

        Raises:
            DataError: Sources and target do not fit, or nothing was decided.
        """
        check_tasks(sources, target)
        x = standardise(target.features)
        resampled = [[_resample(s, rng) for s in sources] for _ in range(self.config.num_votes)]
        votes = np.stack([preferred_by(self.belief(drawn, target), x) for drawn in resampled])
        preferred = preferred_by(self.belief(sources, target), x)
        across = self._across(sources)
        return Transferred(preferred, np.ones_like(preferred), votes, across=across)

    def belief(self, sources: Sequence[TaskSegments], target: TaskSegments) -> Belief:
        """Return what is believed about the target's weights; without sources, nothing is known."""
        x = standardise(target.features)
        prior = self._prior(sources, x.shape[1])
        return prior.update(x[target.b] - x[target.a], target.prefers_b)

    def _across(self, sources: Sequence[TaskSegments]) -> float:
        """Return the share of each source's answers that the others foretell, at the mean."""
        if len(sources) < 2:
            return float("nan")
        weights = np.stack([self._fit(source) for source in sources])
        shares = []
        for source, others in zip(sources, weights.sum(axis=0) - weights, strict=True):
            asked = source.prefers_b != 0.5
            value = standardise(source.features) @ others
            says = value[source.b[asked]] - value[source.a[asked]]
            right = np.sign(says) * np.sign(source.prefers_b[asked] - 0.5)
            shares.append((1 + right.mean()) / 2)
        return float(np.mean(shares))

    def choose_queries(
        self, sources: Sequence[TaskSegments], target: TaskSegments, num: int
    ) -> Int[np.ndarray, "num 2"]:
        """Return the pairs whose answers would tell most, in the order to ask them.

        Each is chosen as if those before it had been answered by what is believed now.
        """
        check_at_least("num", num, 1)
        x, belief = standardise(target.features), self.belief(sources, target)
        a, b = np.triu_indices(len(x), 1)
        difference = x[b] - x[a]
        every, asked = np.stack([a, b], axis=1), np.stack([target.a, target.b], axis=1)
        free = ~np.isin(pair_codes(every, len(x)), pair_codes(asked, len(x)))
        chosen: list[int] = []
        for _ in range(min(num, int(free.sum()))):
            best = int(np.where(free, belief.information(difference), -1.0).argmax())
            free[best] = False
            chosen.append(best)
            guess = belief.probability(difference[[best]])
            belief = belief.update(difference[[best]], guess)
        return every[chosen]

    def _prior(self, sources: Sequence[TaskSegments], num_features: int) -> Belief:
        """Return what the sources say about the weights of a task like them."""
        if not sources:
            return Belief(np.zeros(num_features), np.eye(num_features))
        weights = np.stack([self._fit(source) for source in sources])
        mean = self.config.sharpness * weights.mean(axis=0)
        size = np.abs(mean) / max(float(np.abs(mean).mean()), 1e-12)
        deviation = self.config.task_deviation * (1 + size) / 2
        return Belief(mean, np.diag(deviation**-2.0))

    def _fit(self, source: TaskSegments) -> Float[np.ndarray, " F"]:
        x = standardise(source.features)
        difference = x[source.b] - x[source.a]
        # A source's weights are those of a loss that is a mean: its pairs share segments, and do
        # not count as so many independent answers.
        num = len(difference)
        prior = Belief(np.zeros(x.shape[1]), np.eye(x.shape[1]) * self.config.decay * num)
        return prior.update(difference, source.prefers_b).mean


def preferred_by(belief: Belief, x: Float[np.ndarray, "M F"]) -> Float[np.ndarray, "M M"]:
    """Return how probably each segment is preferred to each other one.

    Args:
        belief: What is believed about the weights.
        x: Standardised features of the segments.
    """
    first, second = np.triu_indices(len(x), 1)
    preferred = np.full((len(x), len(x)), 0.5)
    preferred[second, first] = belief.probability(x[second] - x[first])
    preferred[first, second] = 1 - preferred[second, first]
    return preferred


def _resample(source: TaskSegments, rng: np.random.Generator) -> TaskSegments:
    """Return the source with segments drawn anew: answers count as often as both of theirs."""
    count = np.bincount(rng.integers(len(source), size=len(source)), minlength=len(source))
    times = count[source.a] * count[source.b]
    pairs = np.repeat(np.arange(len(source.a)), times)
    if not len(pairs) or (source.prefers_b[pairs] == 0.5).all():
        return source
    return TaskSegments(
        source.name, source.steps, source.features,
        source.a[pairs], source.b[pairs], source.prefers_b[pairs],
    )  # fmt: skip
