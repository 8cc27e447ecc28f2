"""All that was said, from a store and into another: answers, ratings and decisions as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from robopref.preferences import records, tables
from robopref.preferences.database import Database, read_together
from robopref.preferences.incoming import (
    DECISION,
    DECISION_FIELDS,
    PREFERENCE,
    RATING,
    RATING_DECISION,
    RATING_DECISION_FIELDS,
    RATING_FIELDS,
    RATING_QUERY_FIELDS,
)
from robopref.preferences.rating import Rating, rating_of, rating_query_of
from robopref.preferences.records import Row


def rows_of(database: Database) -> Iterator[Row]:
    """Yield every answer, rating and decision that stands with its query, each kind in its order.

    Answers to attention checks are left out: they say nothing of the items.
    """
    for answer, query in database.answers(None, None):
        yield _row(PREFERENCE, answer, records.PREFERENCE_FIELDS, query, records.QUERY_FIELDS)
    for rating, query in _ratings(database):
        yield _row(RATING, rating, RATING_FIELDS, query, RATING_QUERY_FIELDS)
    decisions, queries = tables.adjudications, tables.queries
    of_them = decisions.c.query_id == queries.c.id
    for decision, query in read_together(database, decisions, queries, of_them):
        yield _row(DECISION, decision, DECISION_FIELDS, query, records.QUERY_FIELDS)
    for decision, query in _rating_decisions(database):
        yield _row(RATING_DECISION, decision, RATING_DECISION_FIELDS, query, RATING_QUERY_FIELDS)


def read_ratings(database: Database) -> Iterator[Rating]:
    """Yield all ratings that stand, in the order in which they were given."""
    for row, query in _ratings(database):
        yield rating_of(row, rating_query_of(query))


def read_rating_decisions(database: Database) -> Iterator[Rating]:
    """Yield what was decided where ratings differed, as ratings of who decided."""
    for row, query in _rating_decisions(database):
        yield rating_of(row | {"response_time_s": 0.0, "details": {}}, rating_query_of(query))


def add_rows(database: Database, rows: Iterable[Row]) -> int:
    """Add rows with their queries, all or none; return how many of them were new.

    Raises:
        DataError: One contradicts what is there.
    """
    insert = {
        PREFERENCE: (database.insert_query, database.insert_preference),
        RATING: (database.insert_rating_query, database.insert_rating),
        DECISION: (database.insert_query, database.insert_decision),
        RATING_DECISION: (database.insert_rating_query, database.insert_rating_decision),
    }
    num_new = 0
    with database.writing() as connection:
        for row in rows:
            query = row["query"]
            insert_query, insert_said = insert[row.get("type", PREFERENCE)]
            insert_query(connection, query)
            said = {key: value for key, value in row.items() if key not in ("type", "query")}
            num_new += insert_said(connection, said | {"query_id": query["id"]})
    return num_new


def _ratings(database: Database) -> Iterator[tuple[Row, Row]]:
    ratings, queries = tables.ratings, tables.rating_queries
    chosen = sa.and_(ratings.c.query_id == queries.c.id, ~ratings.c.undone)
    return read_together(database, ratings, queries, chosen)


def _rating_decisions(database: Database) -> Iterator[tuple[Row, Row]]:
    decisions, queries = tables.rating_adjudications, tables.rating_queries
    return read_together(database, decisions, queries, decisions.c.query_id == queries.c.id)


def _row(
    kind: str, said: Row, fields: Sequence[str], query: Row, query_fields: Sequence[str]
) -> Row:
    return {
        "type": kind,
        **{key: said[key] for key in fields},
        "query": {key: query[key] for key in query_fields},
    }
