"""How well a reward predicts preferences: accuracy, loss and calibration."""

import numpy as np

from robopref.preferences.preference import PairwiseView
from robopref.protocols import RewardModel
from robopref.statistics import expected_calibration_error


def measure_pairs(
    reward: RewardModel, preferences: PairwiseView, *, temperature: float = 1.0
) -> dict[str, float]:
    """Return accuracy, loss and calibration error of a reward on pairs.

    The probability is the mean of the members' Bradley-Terry probabilities. Accuracy counts the
    pairs with a winner, and half for a probability of exactly 0.5; it is NaN if all are ties.

    Args:
        reward: What is measured.
        preferences: The pairs, better ones that it was not fitted to.
        temperature: As in its fit.

    Raises:
        ValueError: There are no pairs.
    """
    if len(preferences) == 0:
        raise ValueError("`preferences` must hold at least 1 pair, got 0.")
    preferences = preferences.compact()
    returns = reward.member_returns(preferences.segments).astype(np.float64)
    logits = (returns[:, preferences.b] - returns[:, preferences.a]) / temperature
    probability = np.exp(-np.logaddexp(0.0, -logits)).mean(axis=0)
    prefers_b = preferences.prefers_b.astype(np.float64)
    losses = prefers_b * np.logaddexp(0.0, -logits) + (1 - prefers_b) * np.logaddexp(0.0, logits)
    decided = prefers_b != 0.5
    agrees = np.sign(probability - 0.5) * np.sign(prefers_b - 0.5)
    return {
        "accuracy": float((agrees[decided] + 1).mean() / 2) if decided.any() else float("nan"),
        "loss": float(losses.mean()),
        "ece": expected_calibration_error(probability, prefers_b),
    }
