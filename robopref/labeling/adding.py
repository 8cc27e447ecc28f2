"""Queries that come in by the HTTP interface: checked, and added in one transaction."""

import time
import uuid
from typing import Any

import sqlalchemy as sa

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.labeling.eligible import find_entry
from robopref.labeling.messages import CandidateIn, QueriesIn, QueryIn
from robopref.labeling.refusals import ConflictError, UnknownError, refusing
from robopref.labeling.service import LabelService
from robopref.preferences import records
from robopref.preferences.query import ActionCandidate, Item, Query
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.rating import RatingQuery, rating_query_row


def add_queries(service: LabelService, body: QueriesIn) -> list[str]:
    """Add queries to be asked, all or none; return their ids.

    Those that are there already stay as they are.

    Raises:
        RefusedError: Items cannot be compared, or a known answer does not fit.
        UnknownError: An episode is not there.
        ConflictError: A query with the same id and other items is there.
    """
    with refusing():
        made = [_query(each) for each in body.queries]
    rows = [_row(service, query) for query in made]
    with service.store.database.writing() as connection:
        for query, row in zip(made, rows, strict=True):
            _insert(service, connection, query, row)
        service.queue.fill_within(connection)
        for criterion in service.config.names:
            order = [
                (query.id, each.priority, each.reason)
                for query, each in zip(made, body.queries, strict=True)
                if each.priority
            ]
            service.queue.reorder_within(connection, criterion, order)
            for query, each in zip(made, body.queries, strict=True):
                if each.gold is not None:
                    find_entry(connection, query.id, criterion)
                    known = each.gold.model_dump()
                    service.queue.set_gold(connection, query.id, criterion, known)
    return [query.id for query in made]


def _query(body: QueryIn) -> Query | RatingQuery:
    name = str(body.id or uuid.uuid4())
    items: tuple[Item, ...] = tuple(_item(item) for item in body.items)
    if len(items) != 1:
        query = Query(name, items, "asked", body.reason)
        if body.gold is not None:  # Raises if the known answer does not fit.
            order = tuple(tuple(group) for group in body.gold.order)
            Ranking(len(items), order, Answer(body.gold.answer))
        return query
    (item,) = items
    if not isinstance(item, Segment):
        raise ValueError("One candidate alone cannot be rated; give a segment.")
    if body.gold is not None:
        raise ValueError("`gold` is for queries that compare items.")
    return RatingQuery(name, item, "asked", body.reason)


def _item(body: Any) -> Item:
    if isinstance(body, CandidateIn):
        action = tuple(tuple(step) for step in body.action)
        return ActionCandidate(body.episode_id, body.step, action)
    return Segment(body.episode_id, body.start, body.length)


def _row(service: LabelService, query: Query | RatingQuery) -> records.Row:
    """Return a query as it is stored; its clips must be in the data set."""
    context, now = {"data": service.episodes.location}, time.time()
    with service.lock:
        hashed = service.episodes.content_hash
        try:
            hashes = [records.hash_item(item, hashed) for item in query.items]
        except DataError as error:
            raise UnknownError(str(error)) from error
    if isinstance(query, RatingQuery):
        return rating_query_row(query, hashes[0], context=context, created_s=now)
    return records.query_row(query, hashes, context=context, created_s=now)


def _insert(
    service: LabelService, connection: sa.Connection, query: Query | RatingQuery, row: records.Row
) -> None:
    database = service.store.database
    is_rating = isinstance(query, RatingQuery)
    try:
        (database.insert_rating_query if is_rating else database.insert_query)(connection, row)
    except DataError as error:
        raise ConflictError(
            "id-taken",
            f"A query '{query.id}' is there already, with other items. Give a new one a new id.",
        ) from error
