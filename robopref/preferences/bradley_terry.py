"""Scores of things that were compared in pairs, with intervals that hold for clear winners too.

P(i beats j) = 1 / (1 + exp(s_j - s_i)) [1]; a tie counts as half a win of each.

The likelihood of who won everything grows with their score for ever, and the curvature that a usual
interval is made of vanishes there: 10 wins of 10 would say less than 9 of 10 [2]. So the likelihood
is multiplied by Jeffreys' prior, which keeps scores finite and takes most of their bias [3], and an
interval holds the values under which what was seen is not too improbable, all other scores being
the best for it: a profile likelihood interval, in place of one made of a curvature [4].

Shapes: N comparisons, I items.
Notation: won[i, j] -> how often i was better than j, met = won + won.T, probability -> p,
information -> I(s), the Laplacian of the comparisons weighted by p (1 - p).

References:
    [1] Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 39, 1952.
    [2] Hauck and Donner, Wald's test as applied to hypotheses in logit analysis, JASA 72, 1977.
    [3] Firth, Bias reduction of maximum likelihood estimates, Biometrika 80, 1993.
    [4] Heinze and Schemper, A solution to the problem of separation in logistic regression,
        Statistics in Medicine 21, 2002.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import null_space
from scipy.optimize import root_scalar
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from robopref.errors import check_between

MAX_STEPS = 200
TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Scores:
    """What items are worth, on the scale of log-odds.

    Args:
        score: Of each item; the mean is 0 over the items of a group.
        won: How often the item of the row was better than that of the column.
        group: Number of the group of each item: items that were compared with one another, directly
            or through others. Nothing is known of how two groups compare.
    """

    score: Float[np.ndarray, " I"]
    won: Float[np.ndarray, "I I"]
    group: Int[np.ndarray, " I"]

    def intervals(self, *, confidence: float = 0.95) -> Float[np.ndarray, "I 2"]:
        """Return the interval of each score, against the mean of its group.

        It is without bounds where an item was compared with no other.
        """
        found = np.empty((len(self.score), 2))
        for item, group in enumerate(self.group):
            own = (self.group == group).astype(float)
            contrast = -own / own.sum()
            contrast[item] += 1
            found[item] = self._interval(contrast, int(group), confidence)
        return found

    def difference(
        self, item: int, other: int, *, confidence: float = 0.95
    ) -> tuple[float, float, float]:
        """Return by how much an item is ahead of another, and the interval of that.

        That is NaN, without bounds, for items of two groups.
        """
        if self.group[item] != self.group[other]:
            return float("nan"), -np.inf, np.inf
        contrast = np.zeros(len(self.score))
        contrast[item], contrast[other] = 1, -1
        low, high = self._interval(contrast, int(self.group[item]), confidence)
        return float(self.score[item] - self.score[other]), low, high

    def _interval(self, contrast: np.ndarray, group: int, confidence: float) -> tuple[float, float]:
        check_between("confidence", confidence, 0, 1)
        own = np.flatnonzero(self.group == group)
        if len(own) == 1:
            return -np.inf, np.inf
        allowed = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
        profile = _Profile(self.won[np.ix_(own, own)], self.score[own], contrast[own])
        return profile.bound(-1.0, allowed), profile.bound(1.0, allowed)


def fit_bradley_terry(
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    prefers_b: Float[np.ndarray, " N"],
    *,
    num_items: int,
    weight: Float[np.ndarray, " N"] | None = None,
) -> Scores:
    """Return the scores of the highest penalised likelihood, l(s) + log det I(s) / 2 [3].

    Of two items that is log((wins + 1/2) / (losses + 1/2)).

    Args:
        a: First item of each comparison.
        b: Second.
        prefers_b: Probability that b is better; 0.5 for a tie.
        num_items: I; all may be named in `a` and `b` or not.
        weight: How much each comparison counts; None for 1 each.

    Raises:
        ValueError: There are no comparisons, or an item is out of range.
    """
    check_comparisons(a, b, prefers_b, num_items)
    won = count_wins(a, b, prefers_b, np.ones(len(a)) if weight is None else weight, num_items)
    num_groups, group = connected_components(won + won.T, directed=False)
    score = np.zeros(num_items)
    for number in range(num_groups):
        own = np.flatnonzero(group == number)
        some = won[np.ix_(own, own)]
        # Only differences are known from comparisons: the mean stays 0.
        score[own] = _climb(some, np.zeros(len(own)), null_space(np.ones((1, len(own)))))
    return Scores(score, won, group.astype(np.int64))


def count_wins(
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    prefers_b: Float[np.ndarray, " N"],
    weight: Float[np.ndarray, " N"],
    num_items: int,
) -> Float[np.ndarray, "I I"]:
    """Return how often each item (row) was better than each other (column)."""
    num = num_items**2
    won: np.ndarray = (
        np.bincount(b * num_items + a, weight * prefers_b, num)
        + np.bincount(a * num_items + b, weight * (1 - prefers_b), num)
    ).reshape(num_items, num_items)
    return won


def make_laplacian(weights: Float[np.ndarray, "I I"]) -> Float[np.ndarray, "I I"]:
    """Return the curvature in scores that curvatures in their differences add up to."""
    laplacian: np.ndarray = np.diag(weights.sum(axis=1)) - weights
    return laplacian


def check_comparisons(a: np.ndarray, b: np.ndarray, prefers_b: np.ndarray, num_items: int) -> None:
    """Check that there are comparisons, of items that are there.

    Raises:
        ValueError: There are none, or an item is out of range.
    """
    if not len(a) or not len(a) == len(b) == len(prefers_b):
        raise ValueError(
            "`a`, `b` and `prefers_b` must have one equal length of at least 1, got "
            f"{len(a)}, {len(b)} and {len(prefers_b)}."
        )
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= num_items or (a == b).any():
        raise ValueError(f"`a` and `b` must name two different of {num_items} items each time.")


class _Profile:
    """The penalised likelihood by the value of one contrast, all else being the best for it.

    Args:
        won: Wins of the items of one group.
        score: Their scores.
        contrast: What is looked at: contrast @ score; adds up to 0.
    """

    def __init__(self, won: np.ndarray, score: np.ndarray, contrast: np.ndarray) -> None:
        self._won, self._score, self._contrast = won, score, contrast
        self._near = score
        self._best = _likelihood(won, score)
        self._free = null_space(np.stack([np.ones(len(score)), contrast]))

    def bound(self, side: float, allowed: float) -> float:
        """Return the value on one side at which twice the logarithm has fallen by `allowed`."""
        self._near, estimate = self._score, float(self._contrast @ self._score)
        width = 1.0
        # The penalty falls without end, so that there is a bound even for who won everything.
        while self._fall(estimate + side * width) < allowed:
            width *= 2
        found = root_scalar(
            lambda x: self._fall(x) - allowed,
            bracket=(estimate, estimate + side * width), method="brentq", xtol=1e-5,
        )  # fmt: skip
        return float(found.root)

    def _fall(self, value: float) -> float:
        along = self._contrast / (self._contrast @ self._contrast)
        # What was best for a value near by is nearly the best for this one.
        start = self._near + (value - self._contrast @ self._near) * along
        self._near = _climb(self._won, start, self._free)
        return 2 * (self._best - _likelihood(self._won, self._near))


def _climb(won: np.ndarray, score: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return where the penalised likelihood is highest, moving along directions (columns)."""
    if not directions.size:
        return score
    best = _likelihood(won, score)
    for _ in range(MAX_STEPS):
        slope, curvature = _derivatives(won, score)
        step: np.ndarray = directions @ np.linalg.solve(
            directions.T @ curvature @ directions, directions.T @ slope
        )
        # Newton's step is too long where the curve is flat, and where it bends the other way.
        step /= max(1.0, float(np.abs(step).max()) / 2)
        while (value := _likelihood(won, score + step)) < best and np.abs(step).max() > TOLERANCE:
            step /= 2
        if np.abs(step).max() <= TOLERANCE:
            break
        score, best = score + step, value
    return score


def _likelihood(won: np.ndarray, score: np.ndarray) -> float:
    """Return the logarithm of the penalised likelihood."""
    margin = score[:, None] - score[None]
    probability = expit(margin)
    information = make_laplacian((won + won.T) * probability * (1 - probability))
    # Moving all scores alike changes nothing; the mean is given a curvature of 1.
    _, log_det = np.linalg.slogdet(information + 1 / len(score))
    return float(log_det / 2 - (won * np.logaddexp(0, -margin)).sum())


def _derivatives(won: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of the penalised likelihood, and a curvature to climb by.

    The penalty acts as if each pair had met `leverage` times more often, with half of it won by
    each [3, section 3.3].
    """
    met, probability = won + won.T, expit(score[:, None] - score[None])
    spread = met * probability * (1 - probability)
    inverse = np.linalg.inv(make_laplacian(spread) + 1 / len(score))
    own = np.diag(inverse)
    leverage = spread * (own[:, None] + own[None] - 2 * inverse)
    slope = (won + leverage / 2 - (met + leverage) * probability).sum(axis=1)
    return slope, make_laplacian((met + leverage) * probability * (1 - probability))
