"""Intervals and calibration, for every figure that is reported."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from robopref.errors import check_between


@dataclass(frozen=True)
class Proportion:
    """A share of `num` trials with its Wilson interval.

    `value` is NaN when there were no trials.
    """

    value: float
    low: float
    high: float
    successes: int
    num: int

    def __str__(self) -> str:
        """Return, for example, `0.94 [0.84, 0.98] (47/50)`."""
        share = f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]" if self.num else "undefined"
        return f"{share} ({self.successes}/{self.num})"


def wilson(successes: int, num: int, *, confidence: float = 0.95) -> Proportion:
    """Return a proportion with its Wilson score interval.

    The interval stays inside [0, 1] and keeps its coverage for small counts and for shares near
    0 or 1, where the normal approximation fails.

    Args:
        successes: Trials with the property.
        num: All trials.
        confidence: Coverage of the interval.

    Raises:
        ValueError: More successes than trials, or `confidence` outside [0, 1].

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Example:
        >>> str(wilson(47, 50))
        '0.94 [0.84, 0.98] (47/50)'
    """
    check_between("confidence", confidence, 0, 1)
    check_between("successes", successes, 0, num)
    if num == 0:
        return Proportion(float("nan"), 0.0, 1.0, 0, 0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / num
    centre = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * np.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == num else min(1.0, centre + half)
    return Proportion(share, float(low), float(high), successes, num)


def mean_interval(values: Float[np.ndarray, " E"], *, num_draws: int = 2000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(num_draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def even_chance(successes: int, num: int) -> float:
    """Return how likely fair coins are to be at least as far from half, to either side.

    The exact two-sided binomial test against 1/2, which is symmetric: twice the smaller tail. With
    few trials it can therefore not be small: 4 of 4 give 1/8.

    Args:
        successes: Trials with the property.
        num: All trials; 1 is returned for none.

    Raises:
        ValueError: More successes than trials.

    Example:
        >>> even_chance(4, 4), even_chance(0, 8), even_chance(5, 10)
        (0.125, 0.0078125, 1.0)
    """
    check_between("successes", successes, 0, num)
    ways = total = 1  # Whole numbers: they do not round, however many trials there are.
    for k in range(1, min(successes, num - successes) + 1):
        ways = ways * (num - k + 1) // k
        total += ways
    return min(1.0, 2 * total / (1 << num))


def expected_calibration_error(
    probability: Float[np.ndarray, " N"], outcome: Float[np.ndarray, " N"], *, num_bins: int = 10
) -> float:
    """Return the mean gap between predicted probability and observed frequency.

    Bins have equal width over [0, 1] and weigh by their number of samples.

    Args:
        probability: Predicted probabilities.
        outcome: What happened, in [0, 1]; 0.5 for a tie.
        num_bins: Number of bins.

    Raises:
        ValueError: There are no samples, or the two differ in length.

    References:
        Guo et al., On calibration of modern neural networks, 2017, arXiv:1706.04599, eq. 3.
    """
    if len(probability) == 0 or len(probability) != len(outcome):
        raise ValueError(
            f"`probability` and `outcome` must have one equal length of at least 1, "
            f"got {len(probability)} and {len(outcome)}."
        )
    place = np.minimum((probability * num_bins).astype(int), num_bins - 1)
    count = np.bincount(place, minlength=num_bins)
    predicted = np.bincount(place, probability, num_bins)
    observed = np.bincount(place, outcome, num_bins)
    return float(np.abs(predicted - observed)[count > 0].sum() / len(probability))
