"""A preference, and the pairwise view of many that losses are computed from.

Shapes: S distinct segments, N pairs, L segment length, Da action size.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.errors import DataError, check_between
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.splits import hold_out_episodes
from robopref.types import Obs, SegmentBatch


@dataclass(frozen=True)
class Preference:
    """One answered query.

    Args:
        id: UUID made by whoever answered, so that an answer sent twice counts once.
        query: What was asked.
        ranking: What was answered.
        annotator: Who answered.
        criterion: By what the items were compared.
        strength: 1 slightly, 2 clearly, 3 strongly.
        reason: The annotator's own words or tags.
        time_s: When it was answered [s since 1970, UTC].
        response_time_s: How long the answer took [s].
        confidence: Probability that the order of two items that do not tie is right, in [0.5, 1].
        details: What else is known of the answer, as plain JSON values: in which order the items
            were shown, tags, marks.

    Raises:
        ValueError: The ranking is of another number of items, `strength` or `confidence` is out of
            range, or `details` are no JSON values.
    """

    id: str
    query: Query
    ranking: Ranking
    annotator: str = "scripted"
    criterion: str = "overall"
    strength: int = 2
    reason: str = ""
    time_s: float = 0.0
    response_time_s: float = 0.0
    confidence: float = 1.0
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check that ranking and query belong together."""
        if self.ranking.num_items != len(self.query.items):
            raise ValueError(
                f"`ranking` is of {self.ranking.num_items} items, "
                f"the query has {len(self.query.items)}."
            )
        check_between("strength", self.strength, 1, 3)
        check_between("confidence", self.confidence, 0.5, 1)
        _check_plain(self.details)

    def pairs(self) -> list[tuple[int, int, float]]:
        """Return (a, b, prefers_b) as its ranking does, with the confidence for a probability."""
        return [
            (a, b, p * self.confidence + (1 - p) * (1 - self.confidence))
            for a, b, p in self.ranking.pairs()
        ]

    def segment_pairs(self) -> list[tuple[Segment, Segment, float]]:
        """Return the two segments of each pair that was compared, and `prefers_b` of it.

        None of an answer about action candidates.
        """
        items = [item for item in self.query.items if isinstance(item, Segment)]
        return [(items[a], items[b], p) for a, b, p in self.pairs()] if items else []


@dataclass(frozen=True, eq=False)
class PairwiseView:
    """Pairs of segments with the probability that the second is preferred.

    Derived from preferences whenever it is needed and never stored: two codebases that kept such
    a column disagree on what it means.

    Args:
        segments: The S distinct segments.
        episode_ids: Episode of each segment, length S.
        a: Index of the first segment of each pair, (N,).
        b: Index of the second, (N,).
        prefers_b: Probability that b is preferred to a, in [0, 1]; 0.5 judged equal, (N,).
        weight: Weight of the pair in a loss, (N,).
        criterion: By what each pair was judged, length N; None where that is not told apart.
    """

    segments: SegmentBatch
    episode_ids: tuple[str, ...]
    a: Int[np.ndarray, " N"]
    b: Int[np.ndarray, " N"]
    prefers_b: Float[np.ndarray, " N"]
    weight: Float[np.ndarray, " N"]
    criterion: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return N, the number of pairs."""
        return len(self.a)

    @classmethod
    def from_preferences(
        cls,
        preferences: Iterable[Preference],
        cut: Callable[[Segment], tuple[Obs, np.ndarray]],
    ) -> "PairwiseView":
        """Derive the pairs of all ranked answers over segments.

        Args:
            preferences: The answers; skipped and incomparable ones give no pair.
            cut: Returns a segment's observations (L, ...) and actions (L, Da).

        Raises:
            DataError: No answer orders anything.
        """
        index: dict[Segment, int] = {}
        rows: list[tuple[int, int, float, str]] = []
        for preference in preferences:
            for *pair, prefers_b in preference.segment_pairs():
                places = [index.setdefault(segment, len(index)) for segment in pair]
                rows.append((places[0], places[1], prefers_b, preference.criterion))
        if not rows:
            raise DataError(
                "No answer orders two segments: there is nothing to learn from. "
                "Answer more queries; skips and 'cannot tell' do not count."
            )
        columns = list(zip(*rows, strict=True))
        return cls(
            segments=batch_segments([cut(segment) for segment in index]),
            episode_ids=tuple(segment.episode_id for segment in index),
            a=np.array(columns[0], np.int64),
            b=np.array(columns[1], np.int64),
            prefers_b=np.array(columns[2], np.float32),
            weight=np.ones(len(rows), np.float32),
            criterion=tuple(columns[3]),
        )

    def take(self, pairs: np.ndarray) -> "PairwiseView":
        """Return the view of the chosen pairs over the same segments."""
        criterion = None if self.criterion is None else tuple(np.array(self.criterion)[pairs])
        return PairwiseView(
            self.segments, self.episode_ids, self.a[pairs], self.b[pairs],
            self.prefers_b[pairs], self.weight[pairs], criterion,
        )  # fmt: skip

    def split(
        self, fraction: float, rng: np.random.Generator
    ) -> tuple["PairwiseView", "PairwiseView"]:
        """Split into training and validation pairs that share no episode.

        Whole episodes are held out; pairs with one episode on each side belong to neither part.
        Of several random ways, the one is taken that comes nearest to `fraction` of the pairs for
        validation, keeps at least half of them for training, and loses the fewest.

        Returns:
            Training and validation pairs, each over its own segments only. The second is empty
            when no episode can be held out without leaving fewer than half for training.
        """
        check_between("fraction", fraction, 0, 1)
        _, codes = np.unique(np.array(self.episode_ids), return_inverse=True)
        pairs = np.stack([codes[self.a], codes[self.b]], axis=1)
        held = hold_out_episodes(pairs, fraction, rng)
        member = held[pairs]
        return (
            self.take(np.flatnonzero(~member.any(axis=1))).compact(),
            self.take(np.flatnonzero(member.all(axis=1))).compact(),
        )

    def compact(self) -> "PairwiseView":
        """Return the same pairs over the segments that they use."""
        used, place = np.unique(np.concatenate([self.a, self.b]), return_inverse=True)
        return PairwiseView(
            self.segments[used],
            tuple(self.episode_ids[i] for i in used),
            place[: len(self)],
            place[len(self) :],
            self.prefers_b,
            self.weight,
            self.criterion,
        )


def _check_plain(details: Mapping[str, Any]) -> None:
    """Check that `details` come back from JSON as they are."""
    plain = not details
    try:
        plain = plain or json.loads(json.dumps(dict(details), allow_nan=False)) == dict(details)
    except (TypeError, ValueError):
        plain = False
    if not plain:
        raise ValueError(
            f"`details` must be an object of plain JSON values, got {details!r}: lists instead of "
            "tuples, text for keys, numbers that are finite."
        )
