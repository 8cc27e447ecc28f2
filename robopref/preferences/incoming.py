"""Rows that come from a file: every field is checked before a database sees it.

A row is an answer, a rating or a decision with its query inside; `type` says which, and an answer
may leave it out. What is wrong is said in one message that names the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robopref.errors import DataError, check_between, check_choice
from robopref.preferences import records
from robopref.preferences.names import check_name_text
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.rating import (
    Rating,
    Verdict,
    rating_query_of,
    rating_query_row,
    rating_row,
)
from robopref.preferences.records import Row

PREFERENCE, RATING = "preference", "rating"
DECISION, RATING_DECISION = "decision", "rating decision"
RATING_FIELDS = (
    "id", "rating", "mark_step", "annotator", "criterion", "reason", "time_s", "response_time_s",
    "details",
)  # fmt: skip
DECISION_FIELDS = ("id", "answer", "order", "annotator", "criterion", "reason", "time_s")
RATING_DECISION_FIELDS = (
    "id", "rating", "mark_step", "annotator", "criterion", "reason", "time_s",
)  # fmt: skip
RATING_QUERY_FIELDS = ("id", "item", "strategy", "reason", "context", "created_s")
LATEST_S = 250_000_000_000.0
"""Times are before the year 9892, the last that calendars here know being 9999."""
LONGEST_S = 1e9
MAX_KEY = 200
"""Letters of an id."""
MAX_DEPTH = 20
"""Lists and objects inside each other."""
_WHOLE = 2**31 - 1


def check_row(row: Any, where: str) -> Row:
    """Return an exported row, with its `type`, once it is known to hold what that says.

    Raises:
        DataError: It does not; the message starts with `where`.
    """
    kind = row.get("type", PREFERENCE) if isinstance(row, dict) else PREFERENCE
    if not isinstance(kind, str) or kind not in _CHECKS:
        raise DataError(f"{where} is of no known `type`: it must be one of {sorted(_CHECKS)}.")
    try:
        if not isinstance(row, dict) or not isinstance(row.get("query"), dict):
            raise DataError("it needs an object 'query'.")
        _plain(row)
        return {"type": kind, **_CHECKS[kind](row)}
    except (DataError, ValueError) as error:
        raise DataError(f"{where} is not a {kind}: {error}") from error


def _check_preference(row: Row) -> Row:
    row = records.PREFERENCE_DEFAULTS | row
    _has(row, records.PREFERENCE_FIELDS, records.QUERY_FIELDS)
    _check_said(row)
    _whole("strength", row["strength"], 1, 3)
    _number("confidence", row["confidence"], 0.5, 1)
    _object("details", row["details"])
    query = _check_query(row["query"])
    _check_order(row, len(query["items"]))
    preference = records.preference_of(row, records.query_of(query))
    return {**records.preference_row(preference), "query": query}


def _check_rating(row: Row) -> Row:
    _has(row, RATING_FIELDS, RATING_QUERY_FIELDS)
    _object("details", row["details"])
    return _check_judged(row, RATING_FIELDS)


def _check_rating_decision(row: Row) -> Row:
    _has(row, RATING_DECISION_FIELDS, RATING_QUERY_FIELDS)
    if row["rating"] == str(Verdict.SKIPPED):
        raise ValueError("`rating` must be a verdict or 'cannot tell', got 'skipped'.")
    return _check_judged(row, RATING_DECISION_FIELDS)


def _check_judged(row: Row, fields: Sequence[str]) -> Row:
    """Check what is said of one clip; return these fields of it with its query."""
    _check_said(row)
    _text("rating", row["rating"])
    check_choice("rating", row["rating"], [str(verdict) for verdict in Verdict])
    if row["mark_step"] is not None:
        _whole("mark_step", row["mark_step"], 0, _WHOLE)
    query = row["query"]
    _check_asked(query)
    _check_item(records.SEGMENTS, query["item"])
    asked = rating_query_of(query)
    normal = rating_query_row(
        asked, query["item"]["hash"], context=query["context"],
        created_s=float(query["created_s"]),
    )  # fmt: skip
    rating = Rating(
        row["id"], asked, Verdict(row["rating"]), row["mark_step"], row["annotator"],
        row["criterion"], row["reason"], float(row["time_s"]),
        float(row.get("response_time_s", 0.0)), row.get("details", {}),
    )  # fmt: skip
    said = rating_row(rating)
    return {**{key: said[key] for key in fields}, "query": normal}


def _check_decision(row: Row) -> Row:
    _has(row, DECISION_FIELDS, records.QUERY_FIELDS)
    _check_said(row)
    query = _check_query(row["query"])
    ranking = _check_order(row, len(query["items"]))
    if ranking.answer is Answer.SKIPPED:
        raise ValueError("`answer` must be 'ranked' or 'incomparable', got 'skipped'.")
    order = [list(group) for group in ranking.order]
    return {**{key: row[key] for key in DECISION_FIELDS}, "order": order, "query": query}


_CHECKS: dict[str, Callable[[Row], Row]] = {
    PREFERENCE: _check_preference, RATING: _check_rating, DECISION: _check_decision,
    RATING_DECISION: _check_rating_decision,
}  # fmt: skip


def _has(row: Row, fields: Sequence[str], query_fields: Sequence[str]) -> None:
    missing = [key for key in fields if key not in row]
    missing += [f"query.{key}" for key in query_fields if key not in row["query"]]
    if missing:
        raise DataError(f"it lacks {missing}.")


def _check_said(row: Row) -> None:
    """Check what everything that somebody said has."""
    _key("id", row["id"])
    for name in ("annotator", "criterion"):
        check_name_text(name, row[name])
    _text("reason", row["reason"])
    _number("time_s", row["time_s"], 0, LATEST_S)
    if "response_time_s" in row:
        _number("response_time_s", row["response_time_s"], 0, LONGEST_S)


def _check_order(row: Row, num_items: int) -> Ranking:
    answer, order = row["answer"], row["order"]
    _text("answer", answer)
    check_choice("answer", answer, [str(each) for each in Answer])
    if not isinstance(order, list) or not all(isinstance(group, list) for group in order):
        raise ValueError(f"`order` must be a list of lists of items, got {_short(order)}.")
    for group in order:
        for item in group:
            _whole("order", item, 0, _WHOLE)
    return Ranking(num_items, tuple(map(tuple, order)), Answer(answer))


def _check_query(query: Row) -> Row:
    _check_asked(query)
    items = query["items"]
    if not isinstance(items, list):
        raise ValueError(f"`query.items` must be a list, got {_short(items)}.")
    for item in items:
        _check_item(query["kind"], item)
    return records.query_row(
        records.query_of(query), [item["hash"] for item in items], context=query["context"],
        created_s=float(query["created_s"]),
    )  # fmt: skip


def _check_asked(query: Row) -> None:
    """Check what every query has."""
    _key("query.id", query["id"])
    for name in ("strategy", "reason"):
        _text(f"query.{name}", query[name])
    _object("query.context", query["context"])
    _number("query.created_s", query["created_s"], 0, LATEST_S)


def _check_item(kind: Any, item: Any) -> None:
    if kind not in (records.SEGMENTS, records.CANDIDATES):
        raise DataError(
            f"A query's kind is '{records.SEGMENTS}' or '{records.CANDIDATES}', got {_short(kind)}."
        )
    is_segment = kind == records.SEGMENTS
    wanted = ("episode_id", *(("start", "length") if is_segment else ("step", "action")), "hash")
    _object("an item", item)
    for name in wanted:
        if name not in item:
            raise DataError(f"an item lacks '{name}'.")
    _key("episode_id", item["episode_id"])
    _text("hash", item["hash"])
    if is_segment:
        _whole("start", item["start"], 0, _WHOLE)
        _whole("length", item["length"], 1, _WHOLE)
    else:
        _whole("step", item["step"], 0, _WHOLE)
        _check_action(item["action"])


def _check_action(action: Any) -> None:
    rows = action if isinstance(action, list) else []
    sizes = {len(row) if isinstance(row, list) else 0 for row in rows}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"`action` must be equally long lists of numbers, got {_short(action)}.")
    for row in rows:
        for value in row:
            _number("action", value, -1e30, 1e30)


def _text(argument: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"`{argument}` must be text, got {_short(value)}.")


def _key(argument: str, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_KEY:
        raise ValueError(
            f"`{argument}` must be text of 1 to {MAX_KEY} letters, got {_short(value)}."
        )


def _number(argument: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{argument}` must be a number, got {_short(value)}.")
    check_between(argument, value, low, high)


def _whole(argument: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int:
        raise ValueError(f"`{argument}` must be a whole number, got {_short(value)}.")
    check_between(argument, value, low, high)


def _object(argument: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"`{argument}` must be an object, got {_short(value)}.")


def _plain(value: Any, depth: int = 0) -> None:
    """Check that a value comes back from any database and from JSON as it is."""
    if depth > MAX_DEPTH:
        raise ValueError(f"lists and objects must not be nested deeper than {MAX_DEPTH}.")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("text must not hold the character NUL or half characters.")
    elif isinstance(value, int | float):
        if not (math.isfinite(value) if isinstance(value, float) else abs(value) < 2**63):
            raise ValueError("numbers must be finite and below 2^63.")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _plain(key, depth)
            _plain(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner, depth + 1)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
