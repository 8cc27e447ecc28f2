"""How much each of several scores of candidates should count, learned from rankings.

Shapes: S scores, G rankings, K candidates of a ranking, P pairs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize

from robopref.scorers import standardise


def fit_weights(
    scores: Sequence[np.ndarray], levels: Float[np.ndarray, "G K"]
) -> tuple[float, ...]:
    r"""Return the weights by which the sum of the standardised scores orders rankings best.

    Stacking: the weights w >= 0 that minimise, with z the scores standardised over the candidates
    of a ranking as `CombinedScorer` does,

    sum_g mean_{a above b in g} log(1 + exp(-w . (z_a - z_b))) + 1/2 |w - 1|^2.

    Pairs of one ranking are not independent, so a ranking counts as one. The second term is a
    prior: a few rankings do not move the weights far from counting all alike. The rankings must not
    be those that the scores were learned from.

    Args:
        scores: What each says of every candidate, (G, K); what fills up a ranking does not count.
        levels: Place of each candidate from the bottom, NaN where there is none.

    Raises:
        ValueError: There are no scores, or they are of other rankings.

    References:
        Breiman, Stacked regressions, Machine Learning 24, 1996, with the loss of Bradley-Terry.
    """
    if not scores or any(score.shape != levels.shape for score in scores):
        raise ValueError(
            f"`scores` must be one or more of shape {levels.shape}, as `levels`, got "
            f"{[score.shape for score in scores]}."
        )
    gaps = [gap for ranking in range(len(levels)) if len(gap := _gaps(scores, levels, ranking))]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.5 * float(np.square(weights - 1).sum()), weights - 1
        for gap in gaps:
            margin = gap @ weights
            value += float(np.logaddexp(0, -margin).mean())
            slope = slope - (gap / (1 + np.exp(margin))[:, None]).mean(axis=0)
        return value, slope

    bounds = [(0.0, None)] * len(scores)
    found = minimize(loss, np.ones(len(scores)), jac=True, bounds=bounds, method="L-BFGS-B")
    return tuple(float(weight) for weight in found.x)


def _gaps(
    scores: Sequence[np.ndarray], levels: np.ndarray, ranking: int
) -> Float[np.ndarray, "P S"]:
    """Return by how much each score puts the better of two candidates above the other."""
    there = ~np.isnan(levels[ranking])
    placed = levels[ranking, there]
    above, below = np.nonzero(placed[:, None] > placed)
    own = np.stack([score[ranking, there] for score in scores]).astype(float)
    standard = standardise(torch.from_numpy(own)).numpy().T
    gap: np.ndarray = standard[above] - standard[below]
    return gap
