"""Queries that annotators answered differently, and decisions about them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from robopref.labeling.refusals import ConflictError
from robopref.preferences import tables
from robopref.preferences.database import Database, find
from robopref.preferences.details import tags_of
from robopref.preferences.ranking import Answer

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


def decide(connection: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Keep a decision, a row of `adjudications`; return False if it is there already.

    Raises:
        ConflictError: The query is decided already, its answers do not differ, or another decision
            has its id.
    """
    known = find(connection, adjudications, row["id"])
    if known is not None:
        if any(known[key] != value for key, value in row.items() if key != "time_s"):
            raise ConflictError(
                "id-taken", f"Decision '{row['id']}' is stored already, with other content."
            )
        return False
    other = connection.scalar(
        sa.select(adjudications.c.annotator).where(
            adjudications.c.query_id == row["query_id"],
            adjudications.c.criterion == row["criterion"],
        )
    )
    if other is not None:
        raise ConflictError(
            "decided-already",
            f"Query '{row['query_id']}' was decided by '{other}' by the criterion "
            f"'{row['criterion']}' already.",
        )
    own = _differing(row["criterion"]).where(preferences.c.query_id == row["query_id"])
    if connection.execute(own).first() is None:
        raise ConflictError(
            "nothing-to-decide",
            f"Query '{row['query_id']}' has no answers that differ by the criterion "
            f"'{row['criterion']}'. Only what was answered differently can be decided.",
        )
    connection.execute(adjudications.insert(), dict(row))
    return True


def _answered(criterion: str) -> Sequence[Any]:
    return (
        preferences.c.criterion == criterion, ~preferences.c.undone,
        preferences.c.answer != str(Answer.SKIPPED),
    )  # fmt: skip


def _differing(criterion: str) -> sa.Select[tuple[str]]:
    """Return the selection of queries that were answered differently and are not decided."""
    said = sa.cast(preferences.c.order, sa.String)
    decided = sa.exists().where(
        adjudications.c.query_id == preferences.c.query_id,
        adjudications.c.criterion == criterion,
    )
    return (
        sa.select(preferences.c.query_id)
        .where(*_answered(criterion), ~decided)
        .group_by(preferences.c.query_id)
        .having(sa.func.min(said) != sa.func.max(said))
    )
