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
        confidence: Probability that the order is right.
    """

    a: Clip
    b: Clip
    ranking: Ranking
    annotator: str = ""
    question: str = ""
    confidence: float = 1.0


def rankings_of(
    labels: np.ndarray, meaning: Mapping[Any, Ranking], where: str
) -> list[tuple[Ranking, float]]:
    """Return what each label says, and how sure it is of that.

    A number between those of the table is a probability: of the order that it is nearer to.

    Args:
        labels: One number a pair, (N,), or one row a pair, (N, 2).
        meaning: The ranking that each number, or each row as a tuple, stands for.
        where: The file and key, for messages.

    Raises:
        DataError: They are no numbers, or of another shape, or a label stands for nothing.
    """
    shapes = "(N,)" if meaning is FIRST_IS_ONE else "(N,) or (N, 2)"
    row = (2,) if meaning is ONE_HOT else ()
    if labels.dtype.kind not in "biuf" or labels.shape[1:] != row or not labels.ndim:
        raise DataError(
            f"{where} must hold numbers of shape {shapes}, got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    rankings = []
    for number, label in enumerate(labels.tolist()):
        key = tuple(label) if isinstance(label, list) else label
        said = (meaning[key], 1.0) if key in meaning else _soft(key, meaning)
        if said is None:
            raise DataError(
                f"{where} is {label} for pair {number}; it must be one of {sorted(meaning)}, or a "
                "probability between two of them."
            )
        rankings.append(said)
    return rankings


def _soft(
    key: float | tuple[float, ...], meaning: Mapping[Any, Ranking]
) -> tuple[Ranking, float] | None:
    row = key if isinstance(key, tuple) else (key, 1 - key)
    if len(row) != 2 or not min(row) > 0 or abs(sum(row) - 1) > 1e-6:
        return None
    nearest = tuple(float(round(share)) for share in row)
    return meaning[nearest if isinstance(key, tuple) else nearest[0]], max(row)


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
