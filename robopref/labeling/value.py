"""What ten more labels are probably worth, from how the held-out error has fallen so far."""

from collections.abc import Sequence

import numpy as np

MORE = 10
USUAL_RATE = 0.5
"""Exponent of a curve that is not known yet: an error that shrinks as 1 / sqrt(labels)."""
METHOD = (
    "Held-out error is taken to fall as c / labels^b; b (between 0 and 1) and c are fitted to the "
    "history by least squares of logarithms, points with more labels weighing more, and b is 1/2 "
    "while there are fewer than three points. The value is by how much the error falls over the "
    f"next {MORE} labels."
)


def value_of_more(history: Sequence[tuple[int, float]], *, more: int = MORE) -> float | None:
    """Return by how much the held-out accuracy will probably rise over the next labels.

    Args:
        history: Labels and held-out accuracy, in the order in which they were measured.
        more: How many labels.

    Returns:
        A share; None before anything was measured.

    Example:
        >>> round(value_of_more([(25, 0.8), (50, 0.858579), (100, 0.9)]), 4)
        0.0047
    """
    points = [(labels, 1 - accuracy) for labels, accuracy in history if labels > 0]
    if not points:
        return None
    labels = np.array([n for n, _ in points], np.float64)
    # An error of 0 was measured on few pairs; half a mistake is what it may well be.
    errors = np.maximum(np.array([error for _, error in points]), 0.5 / (labels + 1))
    if len(np.unique(labels)) < 3:
        rate, level = USUAL_RATE, float(errors[-1] * labels[-1] ** USUAL_RATE)
    else:
        slope, _ = np.polyfit(np.log(labels), np.log(errors), 1, w=np.sqrt(labels))
        rate = float(np.clip(-slope, 0, 1))
        level = float(np.exp(np.average(np.log(errors) + rate * np.log(labels), weights=labels)))
    now = labels[-1]
    return float(level * (now**-rate - (now + more) ** -rate))
