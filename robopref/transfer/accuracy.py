"""How well transferred preferences foretell those that are known.

Shapes: P pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from robopref.statistics import Proportion, expected_calibration_error, wilson


@dataclass(frozen=True)
class Accuracy:
    """Figures of one method on pairs whose true order is known.

    Args:
        method: What foretold them.
        truth: Who knows the order, in words.
        accuracy: Share of pairs ordered right; what says nothing counts half.
        brier: Mean square of what the probabilities are off by.
        ece: Expected calibration error.
        coverage_at_90: Largest share of the pairs, the most confident ones, of which nine in ten
            are ordered right.
        num: How many pairs.
    """

    method: str
    truth: str
    accuracy: float
    brier: float
    ece: float
    coverage_at_90: float
    num: int

    @property
    def interval(self) -> Proportion:
        """The accuracy with its interval, as if the pairs had nothing to do with each other."""
        return wilson(round(self.accuracy * self.num), self.num)


def measure(
    method: str,
    truth: str,
    probability: Float[np.ndarray, " P"],
    is_b: Bool[np.ndarray, " P"],
) -> Accuracy:
    """Return the figures of one method.

    Args:
        method: Its name.
        truth: Who knows the order.
        probability: How probably b is preferred.
        is_b: Whether it is.

    Raises:
        ValueError: There are no pairs.
    """
    outcome = is_b.astype(np.float64)
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == is_b)
    order = np.argsort(-np.abs(probability - 0.5), kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    reached = np.flatnonzero(running >= 0.9)
    return Accuracy(
        method,
        truth,
        accuracy=float(right.mean()),
        brier=float(((probability - outcome) ** 2).mean()),
        ece=expected_calibration_error(probability, outcome),
        coverage_at_90=float((reached[-1] + 1) / len(right)) if len(reached) else 0.0,
        num=len(right),
    )
