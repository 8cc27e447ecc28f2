"""Scores of things that were compared in pairs, with intervals, and who compares reliably.

P(b beats a) = 1 / (1 + exp(s_a - s_b)) [1]; a tie counts as half a win of each. An annotator who is
right with probability e says so with e P + (1 - e)(1 - P) [2].

Shapes: N comparisons, I items, A annotators.

References:
    [1] Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 39, 1952.
    [2] Chen et al., Pairwise ranking aggregation in a crowdsourced setting, WSDM 2013, section 3.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

from robopref.errors import check_above, check_between

MAX_STEPS = 200
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Scores:
    """What items are worth, on the scale of log-odds, with mean 0.

    Args:
        score: Of each item.
        covariance: Of their estimates.
        reliability: Probability that each annotator is right; None where they were not told apart.
    """

    score: Float[np.ndarray, " I"]
    covariance: Float[np.ndarray, "I I"]
    reliability: Float[np.ndarray, " A"] | None = None

    def intervals(self, *, confidence: float = 0.95) -> Float[np.ndarray, "I 2"]:
        """Return the interval of each score."""
        check_between("confidence", confidence, 0, 1)
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        half = z * np.sqrt(np.diag(self.covariance))
        return np.stack([self.score - half, self.score + half], axis=1)

    def difference(
        self, item: int, other: int, *, confidence: float = 0.95
    ) -> tuple[float, float, float]:
        """Return by how much an item is ahead of another, and the interval of that."""
        check_between("confidence", confidence, 0, 1)
        covariance = self.covariance
        variance = covariance[item, item] + covariance[other, other] - 2 * covariance[item, other]
        value = float(self.score[item] - self.score[other])
        half = NormalDist().inv_cdf(0.5 + confidence / 2) * float(np.sqrt(max(variance, 0.0)))
        return value, value - half, value + half


def fit_bradley_terry(
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    prefers_b: Float[np.ndarray, " N"],
    *,
    num_items: int,
    weight: Float[np.ndarray, " N"] | None = None,
    prior_scale: float = 10.0,
) -> Scores:
    """Return the scores under which the comparisons are most probable.

    Found by Newton's method; the interval is that of the inverse of the curvature. A wide normal
    prior keeps the scores of items finite that won or lost everything; it hardly moves others.

    Args:
        a: First item of each comparison.
        b: Second.
        prefers_b: Probability that b is better; 0.5 for a tie.
        num_items: I; all may be named in `a` and `b` or not.
        weight: How much each comparison counts; None for 1 each.
        prior_scale: Standard deviation of a score before anything is known.

    Raises:
        ValueError: There are no comparisons, or an item is out of range.
    """
    _check(a, b, prefers_b, num_items)
    check_above("prior_scale", prior_scale, 0)
    weight = np.ones(len(a)) if weight is None else weight
    score = np.zeros(num_items)
    precision = np.eye(num_items) / prior_scale**2
    for _ in range(MAX_STEPS):
        gradient, curvature = _derivatives(a, b, prefers_b, weight, score)
        step = np.linalg.solve(curvature + precision, gradient - score / prior_scale**2)
        # Newton's step is too long where the curve is flat.
        step /= max(1.0, float(np.abs(step).max()) / 2)
        score = score + step
        if np.abs(step).max() < TOLERANCE:
            break
    _, curvature = _derivatives(a, b, prefers_b, weight, score)
    # Only differences are known from comparisons: the mean is taken out of score and variance.
    centre = np.eye(num_items) - 1 / num_items
    covariance = centre @ np.linalg.inv(curvature + precision) @ centre
    return Scores(score - score.mean(), covariance)


def fit_crowd(
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    prefers_b: Float[np.ndarray, " N"],
    annotator: Int[np.ndarray, " N"],
    *,
    num_items: int,
    prior_right: float = 9.0,
    prior_wrong: float = 1.0,
    prior_scale: float = 3.0,
    num_iterations: int = 50,
) -> Scores:
    """Return scores together with how reliable each annotator is, by expectation maximisation.

    Each step asks how probably each answer is right by the scores so far and its annotator's
    reliability, believes it so far, and fits both anew.

    Args:
        a: First item of each comparison.
        b: Second.
        prefers_b: Probability that b is better; ties (0.5) tell nothing of reliability.
        annotator: Who compared, numbered from 0.
        num_items: I.
        prior_right: Right answers that each annotator is taken to have given already.
        prior_wrong: Wrong ones.
        prior_scale: Standard deviation of a score before anything is known.
        num_iterations: Steps.

    Raises:
        ValueError: There are no comparisons, or an item is out of range.
    """
    _check(a, b, prefers_b, num_items)
    num = int(annotator.max()) + 1
    decided = prefers_b != 0.5
    who = annotator[decided]
    counts = np.bincount(who, minlength=num)
    reliability = np.full(num, prior_right / (prior_right + prior_wrong))
    believed = prefers_b.astype(np.float64)
    scores = fit_bradley_terry(a, b, believed, num_items=num_items, prior_scale=prior_scale)
    for _ in range(num_iterations):
        agrees = _sigmoid((scores.score[b] - scores.score[a]) * np.sign(prefers_b - 0.5))[decided]
        right = reliability[who] * agrees
        right = right / (right + (1 - reliability[who]) * (1 - agrees))
        total = np.bincount(who, right, minlength=num)
        reliability = (total + prior_right) / (counts + prior_right + prior_wrong)
        said = prefers_b[decided]
        believed[decided] = right * said + (1 - right) * (1 - said)
        scores = fit_bradley_terry(a, b, believed, num_items=num_items, prior_scale=prior_scale)
    return Scores(scores.score, scores.covariance, reliability)


def _derivatives(
    a: np.ndarray, b: np.ndarray, prefers_b: np.ndarray, weight: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of the log-likelihood and its negative curvature."""
    num = len(score)
    probability = _sigmoid(score[b] - score[a])
    pull = weight * (prefers_b - probability)
    gradient = np.bincount(b, pull, num) - np.bincount(a, pull, num)
    spread = weight * probability * (1 - probability)
    curvature = np.zeros((num, num))
    np.add.at(curvature, (a, a), spread)
    np.add.at(curvature, (b, b), spread)
    np.add.at(curvature, (a, b), -spread)
    np.add.at(curvature, (b, a), -spread)
    return gradient, curvature


def _sigmoid(x: np.ndarray) -> np.ndarray:
    value: np.ndarray = 0.5 + 0.5 * np.tanh(x / 2)
    return value


def _check(a: np.ndarray, b: np.ndarray, prefers_b: np.ndarray, num_items: int) -> None:
    if not len(a) or not len(a) == len(b) == len(prefers_b):
        raise ValueError(
            "`a`, `b` and `prefers_b` must have one equal length of at least 1, got "
            f"{len(a)}, {len(b)} and {len(prefers_b)}."
        )
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= num_items or (a == b).any():
        raise ValueError(f"`a` and `b` must name two different of {num_items} items each time.")
