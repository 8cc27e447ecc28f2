"""What was asked, answered and measured lately, read from the database."""

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.preference import Preference
from robopref.preferences.query import ATTENTION, Query
from robopref.preferences.ranking import Answer
from robopref.preferences.records import preference_of, query_of

IN_ONE = 1_000
"""Ids in one selection; databases bound their number."""
REVISED = 10_000
"""Answers that are looked back for some that were taken back: more than a reward is fitted to, and
few enough to be counted every second."""

queries, preferences, history = tables.queries, tables.preferences, tables.label_history
_IS_LABEL = [queries.c.id == preferences.c.query_id, queries.c.strategy != ATTENTION]

Plain = dict[str, Any]


def recent_answers(
    database: Database, criterion: str, limit: int, *, ranked: bool = False
) -> tuple[list[Preference], int]:
    """Return the newest answers in their order, and the number of the last one; 0 for none.

    Args:
        database: Of the preference store.
        criterion: By what was judged.
        limit: How many.
        ranked: Only labels: those that order something, and are not to attention checks.
    """
    where = [preferences.c.criterion == criterion, ~preferences.c.undone]
    if ranked:
        where += [preferences.c.answer == str(Answer.RANKED), *_IS_LABEL]
    newest = sa.select(preferences).where(*where).order_by(preferences.c.seq.desc()).limit(limit)
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(newest).mappings()][::-1]
        asked = _queries_of(connection, list({row["query_id"] for row in rows}))
    answers = [preference_of(row, asked[row["query_id"]]) for row in rows]
    return answers, int(rows[-1]["seq"]) if rows else 0


def num_ranked_since(database: Database, criterion: str, last_seq: int) -> int:
    """Return how many answers that order something came after the one of a number."""
    statement = sa.select(sa.func.count()).where(
        preferences.c.seq > last_seq, preferences.c.criterion == criterion,
        preferences.c.answer == str(Answer.RANKED), ~preferences.c.undone, *_IS_LABEL,
    )  # fmt: skip
    with database.reading() as connection:
        return int(connection.scalar(statement) or 0)


def count_revisions(database: Database, criterion: str, last_seq: int) -> list[int]:
    """Return how many answers up to the one of a number were taken back, and what was decided.

    The second part is the number of decisions and the last one's number: a decision taken back and
    made anew keeps the one and raises the other.
    """
    decisions = tables.adjudications
    undone = sa.select(sa.func.count()).where(
        preferences.c.seq <= last_seq, preferences.c.seq > last_seq - REVISED,
        preferences.c.criterion == criterion, preferences.c.answer == str(Answer.RANKED),
        preferences.c.undone,
    )  # fmt: skip
    decided = sa.select(sa.func.count(), sa.func.max(decisions.c.seq)).where(
        decisions.c.criterion == criterion
    )
    with database.reading() as connection:
        num_undone = connection.scalar(undone)
        num_decided, last_decided = connection.execute(decided).one()
    return [int(num_undone or 0), int(num_decided), int(last_decided or 0)]


def recent_queries(database: Database, limit: int) -> list[Query]:
    """Return the newest queries in their order."""
    statement = sa.select(queries).order_by(queries.c.seq.desc()).limit(limit)
    with database.reading() as connection:
        return [query_of(dict(row)) for row in connection.execute(statement).mappings()][::-1]


def num_queries(database: Database) -> int:
    """Return how many queries there are."""
    with database.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count(queries.c.seq))) or 0)


def newest_query(database: Database) -> int:
    """Return the number of the newest query: about how many there are, found at once."""
    with database.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.max(queries.c.seq))) or 0)


def read_history(database: Database, criterion: str, limit: int) -> list[Plain]:
    """Return the newest figures of rewards fitted while people labelled, in their order."""
    statement = (
        sa.select(history)
        .where(history.c.criterion == criterion)
        .order_by(history.c.seq.desc())
        .limit(limit)
    )
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(statement).mappings()][::-1]
    return [
        {"time_s": row["time_s"], "labels": row["num_labels"], **row["figures"]} for row in rows
    ]


def add_to_history(
    database: Database, criterion: str, num_labels: int, figures: Mapping[str, Any]
) -> None:
    """Keep the figures of a reward that was fitted."""
    row = {
        "time_s": time.time(), "criterion": criterion, "num_labels": num_labels,
        "figures": dict(figures),
    }  # fmt: skip
    with database.writing() as connection:
        connection.execute(history.insert(), row)


def _queries_of(connection: sa.Connection, ids: list[str]) -> dict[str, Query]:
    found = {}
    for start in range(0, len(ids), IN_ONE):
        some = sa.select(queries).where(queries.c.id.in_(ids[start : start + IN_ONE]))
        for row in connection.execute(some).mappings():
            found[row["id"]] = query_of(dict(row))
    return found
