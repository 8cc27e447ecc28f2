"""Queries that annotators answered differently, and decisions about them."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from robopref.labeling.rated import rated_differently
from robopref.labeling.refusals import ConflictError
from robopref.preferences import tables
from robopref.preferences.database import Database, DecidedError, IdTakenError
from robopref.preferences.details import tags_of
from robopref.preferences.ranking import Answer
from robopref.preferences.records import Row

MAX_LISTED = 50
"""Disagreements that are listed at once."""

queries, preferences, adjudications = tables.queries, tables.preferences, tables.adjudications


def find_disagreements(
    database: Database, criterion: str, limit: int = MAX_LISTED
) -> dict[str, list[dict[str, Any]]]:
    """Return the answers to queries that were answered differently and are not decided, by id.

    Skips are no answers. What was answered first comes first.
    """
    differing = _differing(criterion).order_by(sa.func.min(preferences.c.seq)).limit(limit)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with database.reading() as connection:
        ids = [row[0] for row in connection.execute(differing)]
        rows = connection.execute(
            sa.select(preferences)
            .where(*_answered(criterion), preferences.c.query_id.in_(ids))
            .order_by(preferences.c.seq)
        ).mappings()
        for row in rows:
            found[row["query_id"]].append(
                {
                    "annotator": row["annotator"], "answer": row["answer"], "order": row["order"],
                    "strength": row["strength"], "reason": row["reason"],
                    "tags": tags_of(row["details"]), "time_s": row["time_s"],
                }
            )  # fmt: skip
    return dict(found)


def count_disagreements(database: Database, criterion: str) -> int:
    """Return how many queries were answered differently and are not decided."""
    statement = sa.select(sa.func.count()).select_from(_differing(criterion).subquery())
    with database.reading() as connection:
        return int(connection.scalar(statement) or 0)


def decide(database: Database, connection: sa.Connection, row: Row) -> bool:
    """Keep a decision, a row of `adjudications`; return False if it is there already.

    Raises:
        ConflictError: The query is decided already, its answers do not differ, or another decision
            has its id.
    """
    with _conflicts(database):
        new = database.insert_decision(connection, row)
    if new:
        own = preferences.c.query_id == row["query_id"]
        _check_differs(
            connection, _answered_differently(row["criterion"]).where(own), row,
            said="answers", done="answered",
        )  # fmt: skip
    return new


def decide_rating(database: Database, connection: sa.Connection, row: Row) -> bool:
    """Keep a decision about ratings, a row of `rating_adjudications`, as `decide` does others."""
    with _conflicts(database):
        new = database.insert_rating_decision(connection, row)
    if new:
        own = tables.ratings.c.query_id == row["query_id"]
        _check_differs(
            connection, rated_differently(row["criterion"]).where(own), row,
            said="ratings", done="rated",
        )  # fmt: skip
    return new


@contextlib.contextmanager
def _conflicts(database: Database) -> Iterator[None]:
    """Turn why a decision cannot be kept into what the page is told."""
    try:
        yield
    except DecidedError as error:
        raise ConflictError("decided-already", str(error)) from error
    except IdTakenError as error:
        # Where the store is, annotators need not know.
        words = str(error).replace(database.name, "the store")
        raise ConflictError("id-taken", words) from error


def _check_differs(
    connection: sa.Connection, differing: sa.Select[tuple[str]], row: Row, *, said: str, done: str
) -> None:
    if connection.execute(differing).first() is None:
        raise ConflictError(
            "nothing-to-decide",
            f"Query '{row['query_id']}' has no {said} that differ by the criterion "
            f"'{row['criterion']}'. Only what was {done} differently can be decided.",
        )


def _answered(criterion: str) -> Sequence[Any]:
    return (
        preferences.c.criterion == criterion, ~preferences.c.undone,
        preferences.c.answer != str(Answer.SKIPPED),
    )  # fmt: skip


def _answered_differently(criterion: str) -> sa.Select[tuple[str]]:
    said = sa.cast(preferences.c.order, sa.String)
    return (
        sa.select(preferences.c.query_id)
        .where(*_answered(criterion))
        .group_by(preferences.c.query_id)
        .having(sa.func.min(said) != sa.func.max(said))
    )


def _differing(criterion: str) -> sa.Select[tuple[str]]:
    """Return the selection of queries that were answered differently and are not decided."""
    decided = sa.exists().where(
        adjudications.c.query_id == preferences.c.query_id,
        adjudications.c.criterion == criterion,
    )
    return _answered_differently(criterion).where(~decided)
