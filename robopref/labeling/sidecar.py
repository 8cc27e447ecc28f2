"""Answers beside a LeRobot data set: one row an item, by episode and frame.

Episodes have their LeRobot index and their id; the index changes when a data set is compacted or
merged, the id does not.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.preferences.exports import write_table
from robopref.preferences.incoming import RATING, RATING_DECISION
from robopref.preferences.preference import Preference
from robopref.preferences.rating import Rating

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    {
        "episode_index": _WHOLE, "episode_id": _TEXT, "from_frame": _WHOLE, "to_frame": _WHOLE,
        "kind": _TEXT, "label_id": _TEXT, "query_id": _TEXT, "criterion": _TEXT,
        "annotator": _TEXT, "answer": _TEXT, "rank": _WHOLE, "num_items": _WHOLE,
        "strength": _WHOLE, "confidence": _REAL, "mark_frame": _WHOLE, "reason": _TEXT,
        "time_s": _REAL, "details": _TEXT,
    }
)  # fmt: skip
"""Columns. `rank` counts from 0, the best, and ties share one; it is empty for what was not ranked.
Frames count from the start of the episode; `to_frame` is the first one after. `details` is what
else is known, as JSON: tags, the order in which items were shown, an action that was proposed."""

Row = dict[str, Any]


def write_sidecar(
    path: Path, episodes: EpisodeStore, preferences: Iterable[Preference],
    ratings: Iterable[Rating], decided: Iterable[Rating] = (),
) -> int:  # fmt: skip
    """Write answers and ratings about a data set's episodes as parquet; return how many rows.

    Ratings that were `decided` on are of a kind of their own, beside those that differ.
    """
    index = {row.episode_id: row.episode_index for row in episodes.rows}
    rows = itertools.chain(
        _of_preferences(preferences), _of_ratings(ratings, RATING),
        _of_ratings(decided, RATING_DECISION),
    )  # fmt: skip
    kept = (
        {"episode_index": index[r["episode_id"]], **r} for r in rows if r["episode_id"] in index
    )
    return write_table(path, kept, SCHEMA)


def _of_preferences(preferences: Iterable[Preference]) -> Iterator[Row]:
    for preference in preferences:
        ranking = preference.ranking
        levels = {item: level for level, group in enumerate(ranking.order) for item in group}
        for place, item in enumerate(preference.query.items):
            first = item.start if isinstance(item, Segment) else item.step
            length = item.length if isinstance(item, Segment) else len(item.action)
            yield {
                "episode_id": item.episode_id, "from_frame": first, "to_frame": first + length,
                "kind": "segment" if isinstance(item, Segment) else "candidate",
                "label_id": preference.id, "query_id": preference.query.id,
                "criterion": preference.criterion, "annotator": preference.annotator,
                "answer": str(ranking.answer), "rank": levels.get(place),
                "num_items": ranking.num_items, "strength": preference.strength,
                "confidence": preference.confidence, "reason": preference.reason,
                "time_s": preference.time_s, "details": _json(preference.details),
            }  # fmt: skip


def _of_ratings(ratings: Iterable[Rating], kind: str) -> Iterator[Row]:
    for rating in ratings:
        item, mark = rating.query.item, rating.mark_step
        yield {
            "episode_id": item.episode_id, "from_frame": item.start,
            "to_frame": item.start + item.length, "kind": kind, "label_id": rating.id,
            "query_id": rating.query.id, "criterion": rating.criterion,
            "annotator": rating.annotator, "answer": str(rating.verdict), "num_items": 1,
            "mark_frame": None if mark is None else item.start + mark, "reason": rating.reason,
            "time_s": rating.time_s, "details": _json(rating.details),
        }  # fmt: skip


def _json(details: Mapping[str, Any]) -> str:
    return json.dumps(dict(details), ensure_ascii=False)
