"""What was probably right where annotators differ, and how often each of them errs.

Dawid and Skene's expectation maximisation [1]: a unit has one true class, and an annotator names
class l where the truth is j with a probability of their own, p_jl. The truth is not known to
anybody; who agrees with the others where these agree is believed more.

Shapes: A annotators, U units, C classes.

References:
    [1] Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM
        algorithm, Applied Statistics 28, 1979.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.errors import check_at_least

TOLERANCE = 1e-7
"""Change of a probability below which nothing changes any more."""


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """What was found.

    Args:
        truth: Probability of each class of each unit.
        confusion: Probability that an annotator names a class (last axis) where another is true.
        share: Share of each class among the units.
    """

    truth: Float[np.ndarray, "U C"]
    confusion: Float[np.ndarray, "A C C"]
    share: Float[np.ndarray, " C"]

    @property
    def accuracy(self) -> Float[np.ndarray, " A"]:
        """Return how often each annotator names the true class, over classes as they are met."""
        right: np.ndarray = np.einsum("c,acc->a", self.share, self.confusion)
        return right


def dawid_skene(
    counts: Float[np.ndarray, "A U C"],
    *,
    prior_right: float = 0.0,
    prior_wrong: float = 0.0,
    one_rate: bool = False,
    known: Mapping[int, int] | None = None,
    max_steps: int = 500,
) -> DawidSkene:
    """Estimate the truth of each unit and the errors of each annotator.

    With the defaults this is the maximum likelihood of [1], equations 2.3 to 2.5, begun at the
    shares of votes. With few answers of an annotator it believes too much: a prior helps.

    Args:
        counts: How often an annotator gave each class to each unit.
        prior_right: Right answers that each annotator is taken to have given already, per class.
        prior_wrong: Wrong ones, per class, divided among the other classes.
        one_rate: Give an annotator one rate of errors in all classes and take these for equally
            frequent: for classes that are the same but for their names, such as which side won.
        known: The true class of units where it is known; it stays as it is.
        max_steps: Steps of the expectation maximisation at most.

    Raises:
        ValueError: There is no answer, or only one class.
    """
    check_at_least("prior_right", prior_right, 0)
    check_at_least("prior_wrong", prior_wrong, 0)
    num_classes = counts.shape[2]
    if num_classes < 2 or not (counts.sum(axis=(0, 2)) > 0).all() or not counts.size:
        raise ValueError(
            "`counts` must give each of one or more units one answer or more, of two classes or "
            f"more, got shape {counts.shape}."
        )
    eye = np.eye(num_classes)
    prior = prior_right * eye + prior_wrong * (1 - eye) / (num_classes - 1)
    votes = counts.sum(axis=0)
    known = known or {}
    given, classes = list(known), list(known.values())
    truth = votes / votes.sum(axis=1, keepdims=True)
    truth[given] = eye[classes]
    check_at_least("max_steps", max_steps, 1)
    confusion, share = np.empty(0), np.empty(0)
    # A row a unit, so that each step is one product of matrices: ten times as fast as einsum.
    said = counts.transpose(1, 0, 2).reshape(len(votes), -1).astype(float)
    for _ in range(max_steps):
        share = np.full(num_classes, 1 / num_classes) if one_rate else truth.mean(axis=0)
        weights = (truth.T @ said).reshape(num_classes, -1, num_classes).transpose(1, 0, 2)
        confusion = _confusion(weights + prior, one_rate=one_rate)
        better = _truth(said, confusion, share)
        better[given] = eye[classes]
        change = float(np.abs(better - truth).max())
        truth = better
        if change < TOLERANCE:
            break
    return DawidSkene(truth, confusion, share)


def _confusion(weights: np.ndarray, *, one_rate: bool) -> np.ndarray:
    """Return the rates at which classes are named; even ones where a class was never true."""
    num_classes = weights.shape[1]
    if one_rate:
        total = weights.sum(axis=(1, 2))
        named = np.einsum("ajj->a", weights)
        right = np.divide(named, total, out=np.full(len(total), 1 / num_classes), where=total > 0)
        wrong = ((1 - right) / (num_classes - 1))[:, None, None]
        eye = np.eye(num_classes)
        rates: np.ndarray = right[:, None, None] * eye + wrong * (1 - eye)
        return rates
    total = weights.sum(axis=2, keepdims=True)
    even = np.full_like(weights, 1 / num_classes)
    shares: np.ndarray = np.divide(weights, total, out=even, where=total > 0)
    return shares


def _truth(said: np.ndarray, confusion: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the probability of each class by Bayes' rule, [1] equation 2.5, in logarithms.

    Args:
        said: How often each annotator gave each class, a row (A L) a unit.
        confusion: Rates at which annotators name classes, (A, J, L).
        share: Of each class, (J,).
    """
    with np.errstate(divide="ignore"):
        log_rate, log_share = np.log(confusion), np.log(share)
    # A rate of 0 counts only where the class was named: 0 log 0 is 0.
    finite = np.where(np.isinf(log_rate), 0.0, log_rate)
    odds = said @ _by_class(finite) + np.where(np.isinf(log_share), 0.0, log_share)
    impossible = said @ _by_class(np.isinf(log_rate).astype(float)) > 0
    odds = np.where(impossible | np.isinf(log_share), -np.inf, odds)
    # Rates that underflowed can rule out every class; then nothing is known of the unit.
    odds[np.isinf(odds).all(axis=1)] = 0.0
    odds -= odds.max(axis=1, keepdims=True)
    probability: np.ndarray = np.exp(odds)
    probability /= probability.sum(axis=1, keepdims=True)
    return probability


def _by_class(rates: np.ndarray) -> np.ndarray:
    """Return rates (A, J, L) as columns of classes, (A L, J)."""
    columns: np.ndarray = rates.transpose(0, 2, 1).reshape(-1, rates.shape[1])
    return columns
