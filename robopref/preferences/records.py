"""Queries and preferences as plain rows, the one form used by the database and by exports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate, Item, Query
from robopref.preferences.ranking import Answer, Ranking

Row = dict[str, Any]

SEGMENTS = "segments"
CANDIDATES = "candidates"
PREFERENCE_FIELDS = (
    "id", "answer", "order", "annotator", "criterion", "strength", "reason", "time_s",
    "response_time_s", "confidence", "details",
)  # fmt: skip
PREFERENCE_DEFAULTS: Row = {"confidence": 1.0, "details": {}}
"""What rows mean that were exported before these fields were there."""
QUERY_FIELDS = ("id", "kind", "items", "strategy", "reason", "context", "created_s")


@dataclass(frozen=True)
class StoredItem:
    """One item of a stored query with the content hash taken when the query was stored."""

    query_id: str
    item: Item
    hash: str


@dataclass(frozen=True)
class ChangedItem:
    """An item whose clip is no longer what it was when the query was made.

    Args:
        query_id: The query that holds it.
        item: The segment or candidate.
        problem: What is different, in words that a full stop may follow.
    """

    query_id: str
    item: Item
    problem: str

    def __str__(self) -> str:
        """Return where the item is, and what is different."""
        if isinstance(self.item, Segment):
            place = f"steps {self.item.start} to {self.item.start + self.item.length - 1}"
        else:
            place = f"the proposal at step {self.item.step}"
        return f"{place} of episode '{self.item.episode_id}': {self.problem}"


def hash_item(item: Item, cut_hash: Callable[[Segment], str]) -> str:
    """Return the content hash of an item, given that of a segment.

    A candidate's is made of its action and of the step for which it was proposed.
    """
    if isinstance(item, Segment):
        return cut_hash(item)
    step = cut_hash(Segment(item.episode_id, item.step, 1))
    return hashlib.sha256(f"{step} {item.action}".encode()).hexdigest()


def query_row(
    query: Query, hashes: Sequence[str], *, context: Mapping[str, Any], created_s: float
) -> Row:
    """Return `query` as plain values, with the content hash of each item."""
    items = [
        {**_item_row(item), "hash": content_hash}
        for item, content_hash in zip(query.items, hashes, strict=True)
    ]
    return {
        "id": query.id,
        "kind": SEGMENTS if isinstance(query.items[0], Segment) else CANDIDATES,
        "items": items,
        "strategy": query.strategy,
        "reason": query.reason,
        "context": dict(context),
        "created_s": created_s,
    }


def query_of(row: Mapping[str, Any]) -> Query:
    """Return the query that `query_row` wrote."""
    items = [_item_of(row["kind"], item) for item in row["items"]]
    return Query(row["id"], tuple(items), row["strategy"], row["reason"])


def stored_items(row: Mapping[str, Any]) -> Iterator[StoredItem]:
    """Yield the items of a query's row with their hashes."""
    for item in row["items"]:
        yield StoredItem(row["id"], _item_of(row["kind"], item), item["hash"])


def preference_row(preference: Preference) -> Row:
    """Return `preference` as plain values, its query by id only."""
    return {
        "id": preference.id,
        "answer": str(preference.ranking.answer),
        "order": [list(group) for group in preference.ranking.order],
        "annotator": preference.annotator,
        "criterion": preference.criterion,
        "strength": preference.strength,
        "reason": preference.reason,
        "time_s": preference.time_s,
        "response_time_s": preference.response_time_s,
        "confidence": preference.confidence,
        "details": dict(preference.details),
    }


def preference_of(row: Mapping[str, Any], query: Query) -> Preference:
    """Return the preference that `preference_row` wrote."""
    order = tuple(tuple(group) for group in row["order"])
    return Preference(
        id=row["id"],
        query=query,
        ranking=Ranking(len(query.items), order, Answer(row["answer"])),
        annotator=row["annotator"],
        criterion=row["criterion"],
        strength=row["strength"],
        reason=row["reason"],
        time_s=row["time_s"],
        response_time_s=row["response_time_s"],
        confidence=row["confidence"],
        details=row["details"],
    )


def _item_row(item: Item) -> Row:
    if isinstance(item, Segment):
        return {"episode_id": item.episode_id, "start": item.start, "length": item.length}
    action = [list(step) for step in item.action]
    return {"episode_id": item.episode_id, "step": item.step, "action": action}


def _item_of(kind: str, row: Mapping[str, Any]) -> Item:
    if kind == SEGMENTS:
        return Segment(row["episode_id"], int(row["start"]), int(row["length"]))
    if kind == CANDIDATES:
        action = tuple(tuple(float(x) for x in step) for step in row["action"])
        return ActionCandidate(row["episode_id"], int(row["step"]), action)
    raise DataError(f"A query's kind is '{SEGMENTS}' or '{CANDIDATES}', got '{kind}'.")
