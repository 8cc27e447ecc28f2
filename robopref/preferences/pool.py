"""Candidate pairs of segments, from which a strategy chooses what to ask.

Shapes: S segments, P candidate pairs, M ensemble members, F segment features, D start features.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from robopref.data.segment import Segment
from robopref.errors import DataError, check_at_least
from robopref.preferences.query import Query
from robopref.types import STATE, SegmentBatch

SCORING_BATCH = 1024
"""Segments scored at once; bounds the memory of a pool of many."""


@runtime_checkable
class ScoresSegments(Protocol):
    """What strategies need of a reward model."""

    def member_returns(self, segments: SegmentBatch) -> np.ndarray:
        """Return the segment returns of every ensemble member, (M, B)."""
        ...


Reward = ScoresSegments | np.ndarray | None
"""A reward model; or its members' returns of the pool's segments, (M, S); or None before there
is any."""


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """Segments, their features, and the pairs of them that may be asked.

    Make one with `CandidatePool.build`, which leaves out pairs that were asked before.

    Args:
        segments: The S segments.
        batch: The same segments as arrays, for reward models.
        features: What a segment is like, standardised; for strategies that want variety.
        start_features: Where a segment starts, standardised.
        pairs: Indices of the two segments of each candidate pair.
        asked: The pairs of the pool's segments that were asked before.
        groups: Number of the group of each segment; only those of one group are compared.
        is_sampled: Whether `pairs` is a sample, so that others may be asked as well.
    """

    segments: tuple[Segment, ...]
    batch: SegmentBatch
    features: Float[np.ndarray, "S F"]
    start_features: Float[np.ndarray, "S D"]
    pairs: Int[np.ndarray, "P 2"]
    asked: Int[np.ndarray, "A 2"]
    groups: Int[np.ndarray, " S"]
    is_sampled: bool

    @classmethod
    def build(
        cls,
        segments: Iterable[Segment],
        batch: SegmentBatch,
        *,
        rng: np.random.Generator,
        pairs: Int[np.ndarray, "P 2"] | None = None,
        num_pairs: int = 10_000,
        asked: Iterable[Query] = (),
        groups: Sequence[str] | None = None,
        features: Float[np.ndarray, "S F"] | None = None,
        start_features: Float[np.ndarray, "S D"] | None = None,
    ) -> "CandidatePool":
        """Build a pool, its features and its candidate pairs.

        Args:
            segments: The segments, all different.
            batch: The same segments as arrays.
            rng: Draws the pairs.
            pairs: Pairs that may be asked; None samples `num_pairs` among all that do not overlap.
            num_pairs: How many to sample; fewer where there are not so many.
            asked: Queries asked before; none of their pairs is asked again.
            groups: Which group each segment is of, where only those of one group may be compared;
                given pairs are taken as they are.
            features: What a segment is like; None for `segment_features(batch)`.
            start_features: Where a segment starts; None for its first state observation.

        Raises:
            ValueError: Lengths disagree, or `pairs` names no two segments.
        """
        segments = tuple(segments)
        if len(set(segments)) != len(segments) or len(batch) != len(segments):
            raise ValueError(
                f"`segments` must be different and as many as in `batch`, got {len(segments)} "
                f"({len(set(segments))} different) and {len(batch)}."
            )
        if features is None:
            features = segment_features(batch)
        if start_features is None:
            start_features = batch.obs[STATE][:, 0]
        for name, value in (("features", features), ("start_features", start_features)):
            if value.ndim != 2 or len(value) != len(segments):
                raise ValueError(
                    f"`{name}` must have shape ({len(segments)}, F), got {value.shape}."
                )
        if groups is None:
            groups = [""] * len(segments)
        if len(groups) != len(segments):
            raise ValueError(
                f"`groups` must be one for each of {len(segments)} segments, got {len(groups)}."
            )
        pool = cls(
            segments, batch, standardise(features), standardise(start_features),
            np.zeros((0, 2), np.int64), _asked_pairs(segments, asked),
            np.unique(groups, return_inverse=True)[1], is_sampled=pairs is None,
        )  # fmt: skip
        if pairs is None:
            return replace(pool, pairs=_sample_pairs(pool, num_pairs, rng))
        return replace(pool, pairs=_given_pairs(pairs, len(segments), pool.asked))

    def member_returns(self, reward: Reward) -> Float[np.ndarray, "M S"] | None:
        """Return every member's return of every segment, each segment scored once.

        Raises:
            ValueError: The returns are not of shape (M, S).
        """
        if reward is None:
            return None
        if isinstance(reward, np.ndarray):
            returns = reward
        else:
            starts = range(0, len(self.segments), SCORING_BATCH)
            parts = [reward.member_returns(self.batch[i : i + SCORING_BATCH]) for i in starts]
            returns = np.concatenate(parts, axis=1)
        if returns.ndim != 2 or returns.shape[1] != len(self.segments) or not len(returns):
            raise ValueError(
                f"The reward's member returns must have shape (M, {len(self.segments)}), "
                f"got {returns.shape}."
            )
        return returns.astype(np.float64)

    def may_ask(self, pairs: Int[np.ndarray, "Q 2"]) -> Bool[np.ndarray, " Q"]:
        """Return which of `pairs` may be asked.

        Those of one group that show no step twice and were not asked before, whether or not they
        are among the sampled ones; where pairs were given, those among them.
        """
        num = len(self.segments)
        if not self.is_sampled:
            given: np.ndarray = np.isin(pair_codes(pairs, num), pair_codes(self.pairs, num))
            return given
        known = np.isin(pair_codes(pairs, num), pair_codes(self.asked, num))
        together = self.groups[pairs[:, 0]] == self.groups[pairs[:, 1]]
        usable: np.ndarray = together & ~known & ~_overlap(self.segments, pairs)
        return usable


def sample_segments(
    num_steps: Mapping[str, int], length: int, num_segments: int, rng: np.random.Generator
) -> list[Segment]:
    """Draw different windows of `length` steps, every window equally likely.

    Args:
        num_steps: Steps of each episode, by id; episodes shorter than `length` give none.
        length: Steps of a segment.
        num_segments: How many to draw; fewer where there are not so many.
        rng: Draws them.

    Raises:
        DataError: No episode is long enough.
        ValueError: `length` or `num_segments` is below 1.
    """
    check_at_least("length", length, 1)
    check_at_least("num_segments", num_segments, 1)
    ids = [episode for episode, steps in num_steps.items() if steps >= length]
    if not ids:
        raise DataError(no_episode_has(num_steps, length))
    ends = np.cumsum([num_steps[episode] - length + 1 for episode in ids])
    windows = rng.choice(ends[-1], size=min(num_segments, int(ends[-1])), replace=False)
    places = np.searchsorted(ends, windows, side="right")
    firsts = np.concatenate([[0], ends])[places]
    return [
        Segment(ids[place], int(window - first), length)
        for place, window, first in zip(places, windows, firsts, strict=True)
    ]


def no_episode_has(num_steps: Mapping[str, int], length: int) -> str:
    """Return what is said where every episode is shorter than the segments that were asked for."""
    longest = max(num_steps.values(), default=0)
    return (
        f"No episode has {length} steps: the longest of {len(num_steps)} has {longest}. "
        "Ask for shorter segments (--segment-length)."
    )


def segment_features(batch: SegmentBatch) -> Float[np.ndarray, "S F"]:
    """Return where a segment is on average, where it goes, and how it acts.

    Mean state, last state minus first, and mean action, over the real steps.
    """
    state, weight = batch.obs[STATE], batch.mask[..., None] / batch.lengths[:, None, None]
    last = state[np.arange(len(batch)), batch.lengths - 1]
    parts = [(state * weight).sum(1), last - state[:, 0], (batch.action * weight).sum(1)]
    return np.concatenate(parts, axis=1, dtype=np.float64)


def standardise(features: Float[np.ndarray, "S F"]) -> Float[np.ndarray, "S F2"]:
    """Return features with mean 0 and standard deviation 1; constant ones are left out."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    varies = spread > 1e-9 * (1 + np.abs(features).max(axis=0, initial=0))
    scaled: np.ndarray = centred[:, varies] / spread[varies]
    return scaled


def pair_codes(pairs: np.ndarray, num_segments: int) -> np.ndarray:
    """Return one number for each unordered pair."""
    codes: np.ndarray = pairs.min(axis=1) * num_segments + pairs.max(axis=1)
    return codes


def _asked_pairs(segments: tuple[Segment, ...], asked: Iterable[Query]) -> np.ndarray:
    place: dict[object, int] = {segment: i for i, segment in enumerate(segments)}
    pairs = [
        (place[a], place[b])
        for query in asked
        for a, b in combinations(query.items, 2)
        if a in place and b in place
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _given_pairs(pairs: np.ndarray, num_segments: int, asked: np.ndarray) -> np.ndarray:
    inside = pairs.ndim == 2 and pairs.shape[1] == 2
    inside = inside and bool(((pairs >= 0) & (pairs < num_segments)).all())
    if not inside or (pairs[:, 0] == pairs[:, 1]).any():
        raise ValueError(
            f"`pairs` must have shape (P, 2) and name two different of {num_segments} segments "
            f"in each row, got shape {pairs.shape}."
        )
    codes = pair_codes(pairs, num_segments)
    _, first = np.unique(codes, return_index=True)
    kept = np.zeros(len(pairs), bool)
    kept[first] = True
    kept &= ~np.isin(codes, pair_codes(asked, num_segments))
    chosen: np.ndarray = pairs[kept].astype(np.int64)
    return chosen


def _sample_pairs(pool: CandidatePool, num_pairs: int, rng: np.random.Generator) -> np.ndarray:
    check_at_least("num_pairs", num_pairs, 1)
    num = len(pool.segments)
    if num * (num - 1) // 2 <= 4 * num_pairs:
        every = np.stack(np.triu_indices(num, 1), axis=1)
        chosen = rng.permutation(every[pool.may_ask(every)])[:num_pairs]
    else:
        # There are several times as many pairs as wanted, so a draw of twice as many suffices, but
        # for those between groups.
        within = np.square(np.bincount(pool.groups) / num).sum()
        num_drawn = 2 * num_pairs if within == 1 else int(2 * num_pairs / within) + 100
        drawn = rng.integers(num, size=(num_drawn, 2))
        drawn = drawn[drawn[:, 0] != drawn[:, 1]]
        _, first = np.unique(pair_codes(drawn, num), return_index=True)
        drawn = drawn[np.sort(first)]
        chosen = drawn[pool.may_ask(drawn)][:num_pairs]
    # Which of the two is shown first must not tell anything.
    flip = rng.random(len(chosen)) < 0.5
    sides: np.ndarray = np.where(flip[:, None], chosen[:, ::-1], chosen).astype(np.int64)
    return sides


def _overlap(segments: tuple[Segment, ...], pairs: np.ndarray) -> np.ndarray:
    """Return which pairs show some step twice."""
    ids = {episode: i for i, episode in enumerate(dict.fromkeys(s.episode_id for s in segments))}
    episode = np.array([ids[segment.episode_id] for segment in segments], np.int64)
    start = np.array([segment.start for segment in segments], np.int64)
    stop = start + np.array([segment.length for segment in segments], np.int64)
    a, b = pairs[:, 0], pairs[:, 1]
    overlapping: np.ndarray = (
        (episode[a] == episode[b]) & (start[a] < stop[b]) & (start[b] < stop[a])
    )
    return overlapping
