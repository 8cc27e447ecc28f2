"""Queries for a project that has none: pairs drawn at random, without any array read."""

from collections.abc import Iterable

import numpy as np

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences.pool import no_episode_has, sample_segments
from robopref.preferences.query import Query
from robopref.seeding import draw_uuid

MAX_TRIES = 50
"""Draws for a pair that is new and does not overlap."""


def draw_pairs(
    episodes: EpisodeStore,
    num: int,
    rng: np.random.Generator,
    *,
    segment_length: int | None = 50,
    asked: Iterable[Query] = (),
) -> list[Query]:
    """Return pairs of segments drawn at random.

    Args:
        episodes: Where from.
        num: How many; fewer where there are not so many.
        rng: Draws them, and names the queries.
        segment_length: Steps of a segment, of shorter episodes all; None for whole episodes.
        asked: Queries asked before; none of their pairs is asked again.

    Raises:
        DataError: There are fewer than two episodes or windows to compare.
    """
    lengths = {row.episode_id: row.length for row in episodes.rows}
    wanted = segment_length
    if segment_length is not None:
        segment_length = min(segment_length, max(lengths.values(), default=1))
    known = {frozenset(query.items) for query in asked}
    pairs = []
    for _ in range(num):
        for _ in range(MAX_TRIES):
            pair = _draw(lengths, segment_length, rng)
            if frozenset(pair) not in known and not _overlap(*pair):
                known.add(frozenset(pair))
                pairs.append(Query(draw_uuid(rng), pair, "uniform", "Drawn at random."))
                break
    if not pairs and num:
        if wanted is not None and wanted > max(lengths.values()):
            raise DataError(no_episode_has(lengths, wanted))
        raise DataError(
            f"'{episodes.root}' has nothing left to compare: it has {len(lengths)} episodes. "
            "Record more, or ask for shorter segments (--segment-length)."
        )
    return pairs


def _draw(
    lengths: dict[str, int], segment_length: int | None, rng: np.random.Generator
) -> tuple[Segment, Segment]:
    if len(lengths) < 2:
        raise DataError(
            f"There are {len(lengths)} episodes; at least 2 are needed to compare. Record more "
            "with: robopref collect."
        )
    if segment_length is None:
        names = list(lengths)
        first, second = (names[i] for i in rng.choice(len(names), 2, replace=False))
        return Segment(first, 0, lengths[first]), Segment(second, 0, lengths[second])
    a, b = (sample_segments(lengths, segment_length, 1, rng)[0] for _ in range(2))
    return a, b


def _overlap(a: Segment, b: Segment) -> bool:
    apart = a.start + a.length <= b.start or b.start + b.length <= a.start
    return a.episode_id == b.episode_id and not apart
