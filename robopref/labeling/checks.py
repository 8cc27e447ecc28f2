"""Queries that check the annotator: the same once more, and one that says which key to press."""

import numpy as np
import sqlalchemy as sa

from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import REPEAT, insert_entry, is_waiting
from robopref.preferences import tables
from robopref.preferences.query import ATTENTION
from robopref.preferences.records import SEGMENTS, Row
from robopref.seeding import draw_uuid

INSTRUCTION = "To check that the question is read: press ↓ (cannot tell), whatever the clips show."
FEWEST_BETWEEN = 3
"""Answers between a query and its repetition at least, so that it is not simply recalled."""
LAST = 60
"""How many answers are looked back for one to repeat."""

queries, preferences, ratings = tables.queries, tables.preferences, tables.ratings
queue = tables.label_queue

_IS_PAIR = [
    queries.c.kind == SEGMENTS, queries.c.num_items == 2,
    queries.c.strategy.not_in([REPEAT, ATTENTION]),
]  # fmt: skip


def is_due(num_answered: int, every: int) -> bool:
    """Return whether it is time for a check that comes once in `every` answers.

    Example:
        >>> [n for n in range(8) if is_due(n, 4)]
        [3, 7]
    """
    return every > 0 and num_answered % every == every - 1


def make_due(
    connection: sa.Connection,
    config: LabelConfig,
    annotator: str,
    criterion: str,
    rng: np.random.Generator,
) -> bool:
    """Queue the check for an annotator that is due; return whether one was."""
    if _lacks(connection, annotator, criterion, ATTENTION, config.attention_every):
        # Its clips do not matter: where nothing is answered yet, it shows those of another pair.
        found = _answered(connection, annotator, criterion) or _asked(connection, criterion)
        return _make(connection, annotator, criterion, found, rng, attention=True)
    if _lacks(connection, annotator, criterion, REPEAT, config.repeat_every):
        found = _answered(connection, annotator, criterion, ordered=True)[FEWEST_BETWEEN:]
        return _make(connection, annotator, criterion, found, rng, attention=False)
    return False


def _lacks(
    connection: sa.Connection, annotator: str, criterion: str, role: str, every: int
) -> bool:
    """Return whether none of the last `every` - 1 answers, ratings too, is to such a check.

    Other checks may take the turn of one: it then comes after them.
    """
    if every == 0:
        return False
    is_check = (queries.c.strategy == role).label("is_check")
    own = [
        sa.select(table.c.time_s, flag)
        .select_from(joined)
        .where(table.c.annotator == annotator, table.c.criterion == criterion, ~table.c.undone)
        .order_by(table.c.seq.desc())
        .limit(every - 1)
        for table, joined, flag in (
            (preferences, preferences.join(queries), is_check),
            (ratings, ratings, sa.false().label("is_check")),
        )
    ]
    rows = [row for statement in own for row in connection.execute(statement)]
    newest = sorted(rows, key=lambda row: -row.time_s)[: every - 1]
    return len(newest) == every - 1 and not any(row.is_check for row in newest)


def _answered(
    connection: sa.Connection, annotator: str, criterion: str, *, ordered: bool = False
) -> list[Row]:
    """Return the pairs that an annotator has answered last, or ordered, the newest first."""
    statement = (
        sa.select(queries)
        .join(preferences, preferences.c.query_id == queries.c.id)
        .where(
            preferences.c.annotator == annotator, preferences.c.criterion == criterion,
            ~preferences.c.undone, *_IS_PAIR,
        )
        .order_by(preferences.c.seq.desc())
        .limit(LAST)
    )  # fmt: skip
    if ordered:
        statement = statement.where(preferences.c.answer == "ranked")
    return [dict(row) for row in connection.execute(statement).mappings()]


def _asked(connection: sa.Connection, criterion: str) -> list[Row]:
    """Return the most urgent pair that is asked."""
    statement = (
        sa.select(queries)
        .join(queue, queue.c.query_id == queries.c.id)
        .where(*is_waiting(criterion), *_IS_PAIR)
        .order_by(queue.c.priority.desc(), queue.c.seq)
        .limit(1)
    )
    return [dict(row) for row in connection.execute(statement).mappings()]


def _make(
    connection: sa.Connection,
    annotator: str,
    criterion: str,
    found: list[Row],
    rng: np.random.Generator,
    *,
    attention: bool,
) -> bool:
    """Queue a copy of one of some pairs, the items turned around; return whether there was any."""
    if not found:
        return False
    chosen = dict(found[int(rng.integers(len(found)))])
    del chosen["seq"]
    role = ATTENTION if attention else REPEAT
    row = chosen | {
        "id": draw_uuid(rng),
        "items": chosen["items"][::-1],
        "strategy": role,
        "reason": INSTRUCTION if attention else chosen["reason"],
        "context": {**chosen["context"], f"{role}_of": chosen["id"]},
    }
    connection.execute(queries.insert(), row)
    insert_entry(
        connection, query_id=row["id"], criterion=criterion, kind="pair", role=role,
        annotator=annotator, why=row["reason"],
        expected={"answer": "incomparable", "order": []} if attention else None,
    )  # fmt: skip
    return True
