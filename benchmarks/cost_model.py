"""Laws of what work costs, fitted to measurements, and what they predict beyond these.

A law is a sum of a few terms in one size n, each with a coefficient that is not negative: costs do
not fall by more work. It is fitted by least squares of relative errors, since sizes, and with them
costs, span orders of magnitude. How far the measurements leave it open is found by fitting again to
what the law says with the residuals dealt out anew (a bootstrap). What lies beyond the sizes that
were measured is a prediction: its interval is right if the law holds there, which nobody measured.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

TERMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "1": np.ones_like,
    "n": lambda n: n,
    "1/n": lambda n: 1 / n,
    "n - 1": lambda n: n - 1,
}
"""What a cost may be made of: what it takes in any case, what each of n adds, what n share, and
what each adds beyond the first."""
REFITS = 500
SHOWN = 0.95
"""Share of the fits that an interval holds."""


class Measured(NamedTuple):
    """One measurement of a cost.

    Args:
        size: n, such as how many episodes there were.
        cost: What it took [s, or GB].
    """

    size: float
    cost: float


class Prediction(NamedTuple):
    """What a law says of one size, with an interval, and whether nobody measured as far."""

    value: float
    low: float
    high: float
    is_beyond: bool


@dataclass(frozen=True, eq=False)
class Law:
    """A law and the range that it was fitted on.

    Args:
        terms: Names in `TERMS`.
        coefficients: One for each.
        refits: The same of each fit to residuals dealt out anew.
        smallest: Least size that was measured.
        largest: Largest size that was measured.
        error: Largest relative error of what it says of a measurement.
        num: How many there were.
    """

    terms: tuple[str, ...]
    coefficients: Float[np.ndarray, " K"]
    refits: Float[np.ndarray, "R K"]
    smallest: float
    largest: float
    error: float
    num: int

    def predict(self, size: float) -> Prediction:
        """Return the cost of a size.

        Raises:
            ValueError: The size is not more than 0.
        """
        self._check(size)
        columns = _columns(self.terms, np.array([size]))[0]
        value, all_values = float(columns @ self.coefficients), self.refits @ columns
        return self._prediction(value, all_values, size)

    def gain(self, size: float) -> Prediction:
        """Return how many times as fast work is by n workers as by one.

        Raises:
            ValueError: The size is not more than 0.
        """
        self._check(size)
        one, many = _columns(self.terms, np.array([1.0, size]))
        value = float(one @ self.coefficients) / float(many @ self.coefficients)
        return self._prediction(value, (self.refits @ one) / (self.refits @ many), size)

    def _prediction(self, value: float, all_values: np.ndarray, size: float) -> Prediction:
        low, high = np.quantile(all_values, ((1 - SHOWN) / 2, (1 + SHOWN) / 2))
        beyond = not self.smallest <= size <= self.largest
        return Prediction(value, min(float(low), value), max(float(high), value), beyond)

    def _check(self, size: float) -> None:
        if not size > 0:
            raise ValueError(f"`size` must be more than 0, got {size}.")


def fit_law(measured: Sequence[Measured], terms: Sequence[str], *, seed: int = 0) -> Law:
    """Fit a law to measurements.

    Args:
        measured: More than there are terms, of at least as many sizes.
        terms: Names in `TERMS`.
        seed: Decides how residuals are dealt out.

    Raises:
        ValueError: There are too few, or a size or cost is not a number above 0.
    """
    sizes, costs = (np.array(values, float) for values in zip(*measured, strict=True))
    if not (np.isfinite([sizes, costs]).all() and sizes.min() > 0 and costs.min() > 0):
        raise ValueError("Sizes and costs must be finite and more than 0.")
    if len(set(sizes.tolist())) < len(terms) or len(costs) <= len(terms):
        raise ValueError(
            f"{len(terms)} terms need measurements of as many sizes and one more of any, got "
            f"{len(costs)} of {len(set(sizes.tolist()))} sizes."
        )
    columns = _columns(terms, sizes)
    coefficients = _solve(columns, costs)
    said = columns @ coefficients
    residuals = costs / said - 1
    # Those of a fit are smaller than what was not foreseen, by the terms that it could choose.
    dealt = residuals * np.sqrt(len(costs) / (len(costs) - len(terms)))
    rng = np.random.default_rng(seed)
    refits = [
        _solve(columns, said * np.maximum(1 + rng.choice(dealt, len(costs)), 0.01))
        for _ in range(REFITS)
    ]
    return Law(
        tuple(terms), coefficients, np.array(refits), float(sizes.min()), float(sizes.max()),
        float(np.abs(residuals).max()), len(costs),
    )  # fmt: skip


def terms_of(of: str, what: str, num_sizes: int) -> tuple[str, ...]:
    """Return the terms of a cost.

    Time of work that workers share falls with them; what each adds, such as by waiting for the
    others, cannot be told from what they do not share before three numbers were tried.

    Args:
        of: What there are n of.
        what: "seconds" or "gb".
        num_sizes: How many sizes were measured.
    """
    if of != "workers" or what != "seconds":
        return ("1", "n")
    return ("1/n", "1") if num_sizes < 3 else ("1/n", "1", "n - 1")


def _columns(terms: Sequence[str], sizes: np.ndarray) -> np.ndarray:
    return np.stack([TERMS[term](sizes) for term in terms], axis=1)


def _solve(columns: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the coefficients of least squares of relative errors, none negative."""
    relative = columns / costs[:, None]
    # The solver's limits are absolute, and coefficients differ by orders of magnitude.
    scale = np.linalg.norm(relative, axis=0)
    found: np.ndarray = nnls(relative / scale, np.ones(len(costs)))[0] / scale
    return found
