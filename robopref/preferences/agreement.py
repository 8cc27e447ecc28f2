"""How far annotators agree with one another, and with themselves, beyond chance.

Shapes: A annotators, U units (here: queries). A missing rating is NaN.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.errors import check_choice
from robopref.preferences.preference import Preference
from robopref.preferences.query import Item
from robopref.preferences.ranking import Answer


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Return Cohen's kappa of two annotators who rated the same units.

    kappa = (p_o - p_e) / (1 - p_e): p_o is the share of units rated alike, p_e the share expected
    if each annotator kept to their own frequencies and chose at random. NaN when p_e is 1: with a
    single category in use there is nothing to agree on.

    Raises:
        ValueError: The two are empty or differ in length.

    References:
        Cohen, A coefficient of agreement for nominal scales, 1960, eq. 1.

    Example:
        >>> round(cohen_kappa("aabb", "aaba"), 2)
        0.5
    """
    if len(first) == 0 or len(first) != len(second):
        raise ValueError(
            f"`first` and `second` must have one equal length of at least 1, "
            f"got {len(first)} and {len(second)}."
        )
    categories = {name: place for place, name in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(categories), len(categories)), np.int64)
    for a, b in zip(first, second, strict=True):
        table[categories[a], categories[b]] += 1
    # Whole numbers until the end: sums of shares miss 1 by a rounding error.
    num = len(first)
    observed, expected = num * int(table.trace()), int(table.sum(axis=1) @ table.sum(axis=0))
    return float("nan") if expected == num**2 else (observed - expected) / (num**2 - expected)


def krippendorff_alpha(ratings: Float[np.ndarray, "A U"], *, level: str = "nominal") -> float:
    """Return Krippendorff's alpha for any number of annotators and missing ratings.

    alpha = 1 - D_o / D_e, observed over expected disagreement, both from the matrix of
    coincidences o_ck, which counts the pairs of values c and k that different annotators gave to
    one unit, each unit's pairs weighted by 1 / (its ratings - 1).

    Args:
        ratings: Values by annotator and unit; NaN where there is none.
        level: "nominal" (values agree or not), "ordinal" or "interval".

    Returns:
        1 for full agreement, 0 for chance; NaN when fewer than two values are in use or no unit
        has two ratings.

    Raises:
        ValueError: `level` is none of the three.

    References:
        Krippendorff, Computing Krippendorff's alpha-reliability, 2011, sections C and D.
    """
    check_choice("level", level, _DISTANCES)
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = (ratings[None] == values[:, None, None]).sum(axis=1).astype(float)  # (V, U)
    per_unit = counts.sum(axis=0)
    counts, per_unit = counts[:, per_unit > 1], per_unit[per_unit > 1]
    coincidence = (counts / (per_unit - 1)) @ counts.T - np.diag((counts / (per_unit - 1)).sum(1))
    marginal = coincidence.sum(axis=1)
    total = marginal.sum()
    distance = _DISTANCES[level](values, marginal)
    expected = float((np.outer(marginal, marginal) * distance).sum())
    if expected == 0:
        return float("nan")
    return float(1 - (total - 1) * (coincidence * distance).sum() / expected)


def _nominal(values: np.ndarray, _marginal: np.ndarray) -> np.ndarray:
    return 1 - np.eye(len(values))


def _ordinal(values: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    # Ranks are counted by how many ratings lie between two values, half of each end included.
    place = np.cumsum(marginal) - marginal / 2
    distance: np.ndarray = (place[:, None] - place[None]) ** 2
    return distance


def _interval(values: np.ndarray, _marginal: np.ndarray) -> np.ndarray:
    distance: np.ndarray = (values[:, None] - values[None]) ** 2
    return distance


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree on the pairs that they judged in common.

    Args:
        annotators: Names, sorted.
        kappa: Cohen's kappa of each two annotators who share pairs, by their names.
        alpha: Krippendorff's alpha of all, ordinal over a better, equal, b better.
        consistency: Share of the pairs that an annotator judged more than once in which all their
            answers are the same; only annotators with such pairs are named.
    """

    annotators: tuple[str, ...]
    kappa: dict[tuple[str, str], float]
    alpha: float
    consistency: dict[str, float]


def measure_agreement(preferences: Iterable[Preference]) -> Agreement:
    """Compare the answers of annotators, item pair by item pair, whichever way round they stood.

    "Cannot tell" and skips say nothing about an order and are left out. Of repeated answers of
    one annotator to one pair, the first is compared with those of others.

    Which item of a pair comes first is arbitrary, and chance agreement must not hang on it: were
    the better one always first, all would say the same, and the same answers would be no better
    than chance. So each pair is entered both ways round, and "a" and "b" are equally frequent.
    Where nobody calls items equal, kappa is then 2 p_o - 1.
    """
    judged: dict[str, dict[tuple[Item, Item], list[float]]] = defaultdict(dict)
    for preference in preferences:
        for pair, prefers_b in decided_pairs(preference):
            judged[preference.annotator].setdefault(pair, []).append(prefers_b)
    names = sorted(judged)
    pairs = sorted({pair for answers in judged.values() for pair in answers}, key=repr)
    ratings = np.full((len(names), len(pairs)), np.nan)
    for row, name in enumerate(names):
        for column, pair in enumerate(pairs):
            ratings[row, column] = judged[name].get(pair, [np.nan])[0]
    kappa = {}
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            both = ~np.isnan(ratings[i]) & ~np.isnan(ratings[j])
            if both.any():
                shared = _both_ways(ratings[[i, j]][:, both])
                kappa[first, names[j]] = cohen_kappa(*shared.tolist())
    consistency = {}
    for name in names:
        repeated = [answers for answers in judged[name].values() if len(answers) > 1]
        if repeated:
            consistency[name] = sum(len(set(a)) == 1 for a in repeated) / len(repeated)
    alpha = krippendorff_alpha(_both_ways(ratings), level="ordinal")
    return Agreement(tuple(names), kappa, alpha, consistency)


def _both_ways(ratings: np.ndarray) -> np.ndarray:
    """Return how often the second item is better, followed by how often the first one is."""
    return np.concatenate([ratings, 1 - ratings], axis=1)


def decided_pairs(preference: Preference) -> list[tuple[tuple[Item, Item], float]]:
    """Return the pairs that an answer decides, each in one order whichever way round it stood.

    With each comes whether the second is better: 0, 0.5 for a tie, or 1.
    """
    if preference.ranking.answer is not Answer.RANKED:
        return []
    items = preference.query.items
    decided = []
    for a, b, prefers_b in preference.ranking.pairs():
        if repr(items[a]) <= repr(items[b]):
            decided.append(((items[a], items[b]), prefers_b))
        else:
            decided.append(((items[b], items[a]), 1 - prefers_b))
    return decided
