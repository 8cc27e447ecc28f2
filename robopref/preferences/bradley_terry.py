"""Scores of things that were compared in pairs, with intervals that hold for clear winners too.

P(i beats j) = 1 / (1 + exp(s_j - s_i)) [1]; a tie counts as half a win of each.

The likelihood of who won everything grows with their score for ever, and the curvature that a usual
interval is made of vanishes there: 10 wins of 10 would say less than 9 of 10 [2]. So the likelihood
is multiplied by Jeffreys' prior, which keeps scores finite and takes most of their bias [3], and an
interval holds the values under which what was seen is not too improbable, all other scores being
the best for it: a profile likelihood interval, in place of one made of a curvature [4].

Shapes: N comparisons, I items, C contrasts of scores, P searches at a time.
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
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from robopref.errors import check_between

MAX_STEPS = 200
TOLERANCE = 1e-8
ROOT_TOLERANCE = 1e-6
ROUNDING = 1e-10
"""By how much a logarithm may seem to fall where it does not."""


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
        same = self.group[:, None] == self.group
        return self._bounds(np.eye(len(same)) - same / same.sum(1, keepdims=True), confidence)

    def difference(
        self, item: int, other: int, *, confidence: float = 0.95
    ) -> tuple[float, float, float]:
        """Return by how much an item is ahead of another, and the interval of that.

        That is NaN, without bounds, for items of two groups.
        """
        pairs = np.array([[item, other]])
        (value,), ((low, high),) = self.differences(pairs, confidence=confidence)
        return float(value), float(low), float(high)

    def differences(
        self, pairs: Int[np.ndarray, "C 2"], *, confidence: float = 0.95
    ) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, "C 2"]]:
        """Return by how much the first item of each pair is ahead of the second, and intervals.

        They are NaN, without bounds, for items of two groups.
        """
        item, other = pairs.T
        known = self.group[item] == self.group[other]
        everyone = np.eye(len(self.score))
        bounds = np.tile([-np.inf, np.inf], (len(pairs), 1))
        bounds[known] = self._bounds((everyone[item] - everyone[other])[known], confidence)
        return np.where(known, self.score[item] - self.score[other], np.nan), bounds

    def _bounds(
        self, contrasts: Float[np.ndarray, "C I"], confidence: float
    ) -> Float[np.ndarray, "C 2"]:
        """Return the intervals of contrasts, each of which is of items of one group."""
        check_between("confidence", confidence, 0, 1)
        allowed = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
        bounds = np.tile([-np.inf, np.inf], (len(contrasts), 1))
        for group in np.unique(self.group):
            own = np.flatnonzero(self.group == group)
            asked = np.flatnonzero((contrasts[:, own] != 0).any(axis=1))
            if len(own) > 1 and len(asked):
                bounds[asked] = _Profile(
                    self.won[np.ix_(own, own)], self.score[own], contrasts[np.ix_(asked, own)]
                ).bounds(allowed)
        return bounds


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
        free = _free_of(np.ones((1, len(own), 1)))
        score[own] = _climb(some, np.zeros((1, len(own))), free)[0]
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


def make_laplacian(weights: Float[np.ndarray, "*P I I"]) -> Float[np.ndarray, "*P I I"]:
    """Return the curvature in scores that curvatures in their differences add up to."""
    laplacian: np.ndarray = np.eye(weights.shape[-1]) * weights.sum(axis=-1)[..., None] - weights
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
    """The penalised likelihood by the value of contrasts, all else being the best for each.

    Every contrast is looked at on both sides, all at the same time: a search for one of them is of
    thousands of operations that each take a microsecond and cost ten.

    Args:
        won: Wins of the items of one group.
        score: Their scores.
        contrasts: What is looked at: contrast @ score; each adds up to 0.
    """

    def __init__(self, won: np.ndarray, score: np.ndarray, contrasts: np.ndarray) -> None:
        self._won, self._best = won, _likelihood(won, score[None])
        self._contrasts = np.repeat(contrasts, 2, axis=0)
        self._side = np.tile([-1.0, 1.0], len(contrasts))
        self._estimate = self._contrasts @ score
        self._along = self._contrasts / np.square(self._contrasts).sum(1, keepdims=True)
        held = np.stack([np.ones_like(self._contrasts), self._contrasts], axis=-1)
        self._free = _free_of(held)
        self._near = np.tile(score, (len(self._contrasts), 1))

    def bounds(self, allowed: float) -> Float[np.ndarray, "C 2"]:
        """Return the values on both sides at which twice the logarithm has fallen by `allowed`."""
        far = np.ones(len(self._side))
        above = self._excess(far, allowed)
        # The penalty falls without end, so that there is a bound even for who won everything.
        while (above < 0).any():
            far = np.where(above < 0, 2 * far, far)
            above = self._excess(far, allowed)
        found = self._root(far, above, allowed)
        bounds: np.ndarray = (self._estimate + self._side * found).reshape(-1, 2)
        return bounds

    def _root(self, far: np.ndarray, above: np.ndarray, allowed: float) -> np.ndarray:
        """Return where the excess is 0, by false position as in the Illinois algorithm."""
        near, below = np.zeros_like(far), np.full_like(far, -np.sqrt(allowed))
        last, before = np.zeros_like(far), far
        for _ in range(MAX_STEPS):
            middle: np.ndarray = (near * above - far * below) / (above - below)
            if np.abs(middle - before).max() <= ROOT_TOLERANCE:
                break
            before, excess = middle, self._excess(middle, allowed)
            beyond = excess > 0
            # An end that stays for a second time counts half, or the other would crawl.
            below = np.where(beyond, np.where(last > 0, below / 2, below), excess)
            above = np.where(beyond, excess, np.where(last < 0, above / 2, above))
            near, far = np.where(beyond, near, middle), np.where(beyond, middle, far)
            last = np.where(beyond, 1.0, -1.0)
        return before

    def _excess(self, distance: np.ndarray, allowed: float) -> np.ndarray:
        """Return how much further than allowed the logarithm falls, as a root of what it falls by.

        The logarithm is nearly a parabola, so that its root is nearly a line.
        """
        value = self._estimate + self._side * distance
        # What was best for a value near by is nearly the best for this one.
        missing = value - (self._contrasts * self._near).sum(1)
        start = self._near + missing[:, None] * self._along
        self._near = _climb(self._won, start, self._free)
        fall = 2 * (self._best - _likelihood(self._won, self._near))
        excess: np.ndarray = np.sqrt(fall.clip(0)) - np.sqrt(allowed)
        return excess


def _free_of(held: Float[np.ndarray, "P I H"]) -> Float[np.ndarray, "P I _"]:
    """Return directions (columns) that are at right angles to what is held."""
    whole = np.linalg.qr(held, mode="complete")[0]
    free: np.ndarray = whole[..., held.shape[-1] :]
    return free


def _climb(won: np.ndarray, score: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return where the penalised likelihood is highest, moving along directions (columns).

    Args:
        won: Wins, (I, I).
        score: Where each of P climbs begins, (P, I).
        directions: Of each climb, (P, I, _).
    """
    if not directions.size:
        return score
    best = _likelihood(won, score)
    across = directions.swapaxes(1, 2)
    for _ in range(MAX_STEPS):
        slope, curvature = _derivatives(won, score)
        along = np.linalg.solve(across @ curvature @ directions, across @ slope[..., None])
        step: np.ndarray = (directions @ along)[..., 0]
        # Newton's step is too long where the curve is flat, and where it bends the other way.
        step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True) / 2)
        value, moves = _likelihood(won, score + step), np.abs(step).max(axis=1) > TOLERANCE
        while (worse := (value < best - ROUNDING) & moves).any():
            step[worse] /= 2
            value, moves = _likelihood(won, score + step), np.abs(step).max(axis=1) > TOLERANCE
        if not moves.any():
            break
        score, best = np.where(moves[:, None], score + step, score), np.where(moves, value, best)
    return score


def _likelihood(won: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the logarithm of the penalised likelihood of scores (P, I)."""
    probability = expit(score[:, :, None] - score[:, None])
    information = make_laplacian((won + won.T) * probability * (1 - probability))
    # Moving all scores alike changes nothing; the mean is given a curvature of 1.
    _, log_det = np.linalg.slogdet(information + 1 / score.shape[1])
    seen = won * np.log(probability.clip(np.finfo(float).tiny))
    value: np.ndarray = log_det / 2 + seen.sum(axis=(1, 2))
    return value


def _derivatives(won: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of the penalised likelihood, and a curvature to climb by.

    The penalty acts as if each pair had met `leverage` times more often, with half of it won by
    each [3, section 3.3].
    """
    met, probability = won + won.T, expit(score[:, :, None] - score[:, None])
    spread = met * probability * (1 - probability)
    inverse = np.linalg.inv(make_laplacian(spread) + 1 / score.shape[1])
    own = np.diagonal(inverse, axis1=1, axis2=2)
    leverage = spread * (own[:, :, None] + own[:, None] - 2 * inverse)
    slope = (won + leverage / 2 - (met + leverage) * probability).sum(axis=2)
    return slope, make_laplacian((met + leverage) * probability * (1 - probability))
