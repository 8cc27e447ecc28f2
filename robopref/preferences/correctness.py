"""Which answers are probably mistakes: each annotator's error rate and each label's correctness.

Expectation maximisation over labels that a reward foretells or does not. What a reward was fitted
to it foretells too well, mistakes included, so the margins must come from rewards that were not
given the answers they judge. The idea of weighing labels by their posterior correctness is that of
[1], the model of annotators with an error rate each is that of [2].

Shapes: N decided pairs, A annotators.

References:
    [1] Cao et al., Latent collective preference optimization (LCPO), 2025, arXiv:2509.24159.
    [2] Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM
        algorithm, 1979.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from robopref.errors import check_at_least

LARGEST_ERROR = 0.5
"""Who errs more often than this would be more use turned around; nobody is taken for that."""


@dataclass(frozen=True)
class Correctness:
    """What the labels are worth.

    Args:
        probability: Probability that each label is right.
        error_rate: Share of mistakes of each annotator.
    """

    probability: Float[np.ndarray, " N"]
    error_rate: Float[np.ndarray, " A"]


def estimate_correctness(
    margin: Float[np.ndarray, " N"],
    annotator: Int[np.ndarray, " N"],
    *,
    prior_mistakes: float = 1.0,
    prior_right: float = 9.0,
    num_iterations: int = 100,
) -> Correctness:
    """Return the probability that each label is right, and each annotator's error rate.

    A label is right with probability 1 - error rate; a right one agrees with the reward with
    probability sigmoid(margin), a mistaken one with sigmoid(-margin).

    Args:
        margin: Log-odds that a reward gives to the item that was preferred, by held-out rewards.
        annotator: Number of who gave each label, from 0.
        prior_mistakes: Mistakes that each annotator is taken to have made already.
        prior_right: Right answers that each is taken to have given already.
        num_iterations: Steps of the expectation maximisation.

    Raises:
        ValueError: There are no labels, or a margin is not finite.

    Example:
        >>> found = estimate_correctness(np.array([4.0, 5.0, -6.0]), np.array([0, 0, 0]))
        >>> found.probability.round(2)
        array([1.  , 1.  , 0.01])
    """
    check_at_least("prior_mistakes", prior_mistakes, 0)
    check_at_least("prior_right", prior_right, 0)
    if not len(margin) or len(margin) != len(annotator) or not np.isfinite(margin).all():
        raise ValueError(
            "`margin` must hold a finite number for each of one or more labels, and `annotator` "
            f"one for each, got {len(margin)} and {len(annotator)}."
        )
    num = int(annotator.max()) + 1
    error = np.full(num, prior_mistakes / max(prior_mistakes + prior_right, 1e-12))
    counts = np.bincount(annotator, minlength=num)
    for _ in range(num_iterations):
        probability = _posterior(margin, error[annotator])
        mistakes = np.bincount(annotator, 1 - probability, minlength=num)
        error = (mistakes + prior_mistakes) / (counts + prior_mistakes + prior_right)
        error = error.clip(1e-6, LARGEST_ERROR)
    return Correctness(_posterior(margin, error[annotator]), error)


def _posterior(margin: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return the probability of a right label by Bayes' rule: its log-odds are a sum."""
    odds = margin + np.log1p(-error) - np.log(error)
    posterior: np.ndarray = 1 / (1 + np.exp(-odds.clip(-50, 50)))
    return posterior
