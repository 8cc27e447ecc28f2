"""Queries of every kind, found by their ids."""

import sqlalchemy as sa

from robopref.preferences import tables
from robopref.preferences.database import find
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.rating import RatingQuery, rating_query_of
from robopref.preferences.records import query_of


def read_query(connection: sa.Connection, query_id: str, kind: str) -> Query | RatingQuery:
    """Return a queued query; its row is there."""
    table = tables.rating_queries if kind == "rating" else tables.queries
    row = find(connection, table, query_id)
    assert row is not None
    return rating_query_of(row) if kind == "rating" else query_of(row)


def find_query(connection: sa.Connection, query_id: str) -> Query | RatingQuery | None:
    """Return a query of either kind, queued or not; None if there is none of this id."""
    row = find(connection, tables.queries, query_id)
    if row is not None:
        return query_of(row)
    row = find(connection, tables.rating_queries, query_id)
    return None if row is None else rating_query_of(row)


def kind_of(query: Query | RatingQuery) -> str:
    """Return which of `config.KINDS` a query is of."""
    if isinstance(query, RatingQuery):
        return "rating"
    if isinstance(query.items[0], ActionCandidate):
        return "candidates"
    return "pair" if len(query.items) == 2 else "ranking"
