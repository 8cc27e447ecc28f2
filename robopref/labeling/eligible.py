"""Which queries an annotator may be asked, as selections from the queue."""

from collections.abc import Sequence

import sqlalchemy as sa

from robopref.labeling.queue import ASK, ATTENTION, REPEAT, Entry, is_waiting, queue
from robopref.labeling.refusals import UnknownError
from robopref.preferences import tables

leases = tables.label_leases

Selection = sa.Select[tuple[object, ...]]


def find_entry(connection: sa.Connection, query_id: str, criterion: str) -> Entry:
    """Return the place of a query in the queue.

    Raises:
        UnknownError: It is not queued for this criterion.
    """
    row = connection.execute(
        sa.select(queue).where(queue.c.query_id == query_id, queue.c.criterion == criterion)
    ).mappings().first()  # fmt: skip
    if row is None:
        raise UnknownError(f"Query '{query_id}' is not asked here by the criterion '{criterion}'.")
    return Entry(**row)


def first(connection: sa.Connection, statement: Selection) -> Entry | None:
    """Return the first row of a selection of the queue, or None."""
    row = connection.execute(statement.limit(1)).mappings().first()
    return None if row is None else Entry(**row)


def askable(annotator: str, criterion: str, kinds: Sequence[str], *, role: str = ASK) -> Selection:
    """Return what anybody may be asked and this annotator has not been, most urgent first."""
    others = sa.select(sa.func.count()).where(leases.c.queue_seq == queue.c.seq).scalar_subquery()
    return (
        sa.select(queue)
        .where(
            queue.c.is_open, queue.c.criterion == criterion, queue.c.role == role,
            queue.c.annotator == "", queue.c.kind.in_(list(kinds)),
            *not_answered_by(annotator), queue.c.num_answers + others < queue.c.overlap,
        )
        .order_by(queue.c.priority.desc(), queue.c.seq)
    )  # fmt: skip


def reserved_for(annotator: str, criterion: str, kinds: Sequence[str]) -> Selection:
    """Return the checks that are queued for this annotator alone."""
    return (
        sa.select(queue)
        .where(
            queue.c.is_open, queue.c.criterion == criterion,
            queue.c.role.in_([REPEAT, ATTENTION]), queue.c.annotator == annotator,
            queue.c.kind.in_(list(kinds)), *not_answered_by(annotator),
        )
        .order_by(queue.c.seq)
    )  # fmt: skip


def not_answered_by(annotator: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that this annotator has not answered a queued query."""
    return [
        ~sa.exists().where(
            table.c.query_id == queue.c.query_id, table.c.annotator == annotator,
            table.c.criterion == queue.c.criterion, ~table.c.undone,
        )
        for table in (tables.preferences, tables.ratings)
    ]  # fmt: skip


def is_left(connection: sa.Connection, annotator: str, criterion: str) -> bool:
    """Return whether something is open that this annotator has not answered, leased or not."""
    waiting = sa.select(queue.c.seq).where(*is_waiting(criterion), *not_answered_by(annotator))
    return connection.execute(waiting.limit(1)).first() is not None
