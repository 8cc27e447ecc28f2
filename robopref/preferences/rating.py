"""One clip judged by itself, and where it went wrong: good or bad, success or failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from robopref.data.segment import Segment
from robopref.errors import DataError, check_between

Row = dict[str, Any]


class Verdict(StrEnum):
    """What a clip was judged to be."""

    GOOD = "good"
    BAD = "bad"
    SUCCESS = "success"
    FAILURE = "failure"
    CANNOT_TELL = "cannot tell"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class RatingQuery:
    """One segment to be judged by itself.

    Args:
        id: UUID of the query.
        item: What is judged.
        strategy: What proposed it.
        reason: Why it was chosen, in words for the annotator.
    """

    id: str
    item: Segment
    strategy: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)

    @property
    def items(self) -> tuple[Segment, ...]:
        """What is shown, as a query of several items has it."""
        return (self.item,)


@dataclass(frozen=True)
class Rating:
    """One answered rating query.

    Args:
        id: UUID made by whoever answered, so that a rating sent twice counts once.
        query: What was asked.
        verdict: What was answered.
        mark_step: Step of the segment at which it went wrong; None if none was marked.
        annotator: Who answered.
        criterion: By what was judged.
        reason: The annotator's own words.
        time_s: When it was answered [s since 1970, UTC].
        response_time_s: How long the answer took [s].
        details: What else is known of the answer, as plain JSON values.

    Raises:
        ValueError: The mark is outside the segment.
    """

    id: str
    query: RatingQuery
    verdict: Verdict
    mark_step: int | None = None
    annotator: str = "person"
    criterion: str = "overall"
    reason: str = ""
    time_s: float = 0.0
    response_time_s: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check that the mark is on the segment."""
        if self.mark_step is not None:
            check_between("mark_step", self.mark_step, 0, self.query.item.length - 1)


def rating_query_row(
    query: RatingQuery, content_hash: str, *, context: Mapping[str, Any], created_s: float
) -> Row:
    """Return a rating query as plain values, with the content hash of its segment."""
    item = {
        "episode_id": query.item.episode_id, "start": query.item.start,
        "length": query.item.length, "hash": content_hash,
    }  # fmt: skip
    return {
        "id": query.id, "item": item, "strategy": query.strategy, "reason": query.reason,
        "context": dict(context), "created_s": created_s,
    }  # fmt: skip


def rating_query_of(row: Mapping[str, Any]) -> RatingQuery:
    """Return the query that `rating_query_row` wrote."""
    item = row["item"]
    segment = Segment(item["episode_id"], int(item["start"]), int(item["length"]))
    return RatingQuery(row["id"], segment, row["strategy"], row["reason"])


def rating_row(rating: Rating) -> Row:
    """Return a rating as plain values, its query by id only."""
    return {
        "id": rating.id, "query_id": rating.query.id, "rating": str(rating.verdict),
        "mark_step": rating.mark_step, "annotator": rating.annotator,
        "criterion": rating.criterion, "reason": rating.reason, "time_s": rating.time_s,
        "response_time_s": rating.response_time_s, "details": dict(rating.details),
    }  # fmt: skip


def rating_of(row: Mapping[str, Any], query: RatingQuery) -> Rating:
    """Return the rating that `rating_row` wrote.

    Raises:
        DataError: The row holds no such verdict.
    """
    if row["rating"] not in set(Verdict):
        raise DataError(f"Rating '{row['id']}' is '{row['rating']}', not one of {list(Verdict)}.")
    mark = row["mark_step"]
    if mark is not None:  # Marks after the last step were taken once.
        mark = min(mark, query.item.length - 1)
    return Rating(
        row["id"], query, Verdict(row["rating"]), mark, row["annotator"],
        row["criterion"], row["reason"], row["time_s"], row["response_time_s"], row["details"],
    )  # fmt: skip
