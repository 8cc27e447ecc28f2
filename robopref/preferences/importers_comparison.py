"""What the readers of preference sets return: two segments, and which one won.

A label of a source is decoded by a table from its value to a ranking, so that the convention stands
in one place and nothing after it sees a number.

Shapes: N pairs, L segment length, Do observation size, Da action size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.errors import DataError
from robopref.preferences.ranking import Ranking

SECOND_IS_ONE = {
    0.0: Ranking.prefer(0),
    1.0: Ranking.prefer(1),
    0.5: Ranking.tie(),
    -1.0: Ranking.tie(),
}
"""What a number means to Preference Transformer, IPL and Uni-RLHF; -1 is a tie by a person."""
ONE_HOT = {
    (1.0, 0.0): Ranking.prefer(0),
    (0.0, 1.0): Ranking.prefer(1),
    (0.5, 0.5): Ranking.tie(),
}
"""What a row [first, second] means to Preference Transformer and Uni-RLHF."""
FIRST_IS_ONE = {1.0: Ranking.prefer(0), 0.0: Ranking.prefer(1), 0.5: Ranking.tie()}
"""What a number means to imitation: the probability that the first is preferred."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A segment as a source gives it.

    Args:
        state: Observations, (L, Do), or (L + 1, Do) with the one after the last action.
        action: Actions, (L, Da).
        reward: The environment's own reward after each action, (L,), where the source has it.
        metadata: Kept with the episode.
    """

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two segments and which one won.

    Args:
        a: The first segment.
        b: The second one.
        ranking: The answer; item 0 is a, item 1 is b.
        annotator: Who answered, where the source tells several apart.
        question: Which of several questions about the pair it answers.
    """

    a: Clip
    b: Clip
    ranking: Ranking
    annotator: str = ""
    question: str = ""


def rankings_of(labels: np.ndarray, meaning: Mapping[Any, Ranking], where: str) -> list[Ranking]:
    """Return what each label says.

    Args:
        labels: One number a pair, (N,), or one row a pair, (N, 2).
        meaning: The ranking that each number, or each row as a tuple, stands for.
        where: The file and key, for messages.

    Raises:
        DataError: A label stands for nothing.
    """
    rankings = []
    for number, label in enumerate(labels.tolist()):
        key = tuple(label) if isinstance(label, list) else label
        if key not in meaning:
            raise DataError(
                f"{where} is {label} for pair {number}; it must be one of {sorted(meaning)}. A "
                "ranking says who won or that they tie, not how probable it is."
            )
        rankings.append(meaning[key])
    return rankings


def to_float32(values: np.ndarray, where: str) -> np.ndarray:
    """Return values as data sets keep them.

    Raises:
        DataError: They are no numbers, or not finite.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} must hold numbers, got the type {values.dtype}.")
    with np.errstate(over="ignore"):
        cast = values.astype(np.float32)
    if not np.isfinite(cast).all():
        place = np.argwhere(~np.isfinite(cast))[0].tolist()
        raise DataError(f"{where} is not finite at {place}.")
    return cast
