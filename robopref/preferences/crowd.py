"""Scores of things that were compared in pairs, and who compares reliably.

An annotator who is right with probability e says that i is better than j with probability
e P + (1 - e)(1 - P) [1], P being that of Bradley and Terry.

Shapes: N comparisons, I items, A annotators.

References:
    [1] Chen et al., Pairwise ranking aggregation in a crowdsourced setting, WSDM 2013, section 3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from robopref.errors import check_above, check_at_least
from robopref.preferences.bradley_terry import check_comparisons, count_wins, make_laplacian

MAX_STEPS = 200
TOLERANCE = 1e-9


@dataclass(frozen=True)
class CrowdConfig:
    """What is taken to be known before anybody answered, and how long to iterate."""

    prior_right: float = 9.0
    """Right answers that each annotator is taken to have given already."""
    prior_wrong: float = 1.0
    """Wrong ones."""
    prior_scale: float = 3.0
    """Standard deviation of a score."""
    num_iterations: int = 50
    """Steps of the expectation maximisation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("prior_right", self.prior_right, 0)
        check_at_least("prior_wrong", self.prior_wrong, 0)
        check_above("prior_scale", self.prior_scale, 0)
        check_at_least("num_iterations", self.num_iterations, 1)


@dataclass(frozen=True, eq=False)
class CrowdScores:
    """What was found.

    Args:
        score: Of each item, on the scale of log-odds, with mean 0.
        reliability: Probability that each annotator is right.
    """

    score: Float[np.ndarray, " I"]
    reliability: Float[np.ndarray, " A"]


def fit_crowd(
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    prefers_b: Float[np.ndarray, " N"],
    annotator: Int[np.ndarray, " N"],
    *,
    num_items: int,
    config: CrowdConfig | None = None,
) -> CrowdScores:
    """Return scores together with how reliable each annotator is, by expectation maximisation.

    Each step asks how probably each answer is right by the scores so far and its annotator's
    reliability, believes it so far, and fits both anew.

    Args:
        a: First item of each comparison.
        b: Second.
        prefers_b: Probability that b is better; ties (0.5) tell nothing of reliability.
        annotator: Who compared, numbered from 0.
        num_items: I.
        config: Priors and steps; None for the usual ones.

    Raises:
        ValueError: There are no comparisons, or an item is out of range.
    """
    check_comparisons(a, b, prefers_b, num_items)
    config = config or CrowdConfig()
    num = int(annotator.max()) + 1
    decided = prefers_b != 0.5
    who, said = annotator[decided], prefers_b[decided]
    counts = np.bincount(who, minlength=num)
    prior = config.prior_right + config.prior_wrong
    reliability = np.full(num, config.prior_right / prior)
    believed, weight = prefers_b.astype(np.float64), np.ones(len(a))

    def fit() -> np.ndarray:
        won = count_wins(a, b, believed, weight, num_items)
        return fit_with_prior(won, config.prior_scale)

    score = fit()
    for _ in range(config.num_iterations):
        agrees = expit((score[b] - score[a]) * np.sign(prefers_b - 0.5))[decided]
        right = reliability[who] * agrees
        right = right / (right + (1 - reliability[who]) * (1 - agrees))
        total = np.bincount(who, right, minlength=num)
        reliability = (total + config.prior_right) / (counts + prior)
        believed[decided] = right * said + (1 - right) * (1 - said)
        score = fit()
    return CrowdScores(score, reliability)


def fit_with_prior(won: Float[np.ndarray, "I I"], prior_scale: float) -> Float[np.ndarray, " I"]:
    """Return the most probable scores, those before anything is known being normal.

    Found by Newton's method. A prior in place of a penalty: of hundreds of items that met a few
    others each, it says which differences are usual.

    Args:
        won: How often each item (row) was better than each other (column).
        prior_scale: Standard deviation of a score before anything is known.
    """
    met, score = won + won.T, np.zeros(len(won))
    precision = 1 / prior_scale**2
    for _ in range(MAX_STEPS):
        probability = expit(score[:, None] - score[None])
        slope = (won - met * probability).sum(axis=1) - precision * score
        curvature = make_laplacian(met * probability * (1 - probability))
        step = np.linalg.solve(curvature + precision * np.eye(len(won)), slope)
        # Newton's step is too long where the curve is flat.
        step /= max(1.0, float(np.abs(step).max()) / 2)
        score = score + step
        if np.abs(step).max() < TOLERANCE:
            break
    centred: np.ndarray = score - score.mean()
    return centred
