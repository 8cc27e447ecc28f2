"""Which queries an annotator may be asked.

The selections are built once: to build one takes as long as to run it.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from robopref.labeling.queue import ASK, REPEAT, Entry, is_waiting, queue
from robopref.labeling.refusals import UnknownError
from robopref.preferences import tables
from robopref.preferences.query import ATTENTION

leases = tables.label_leases

_annotator: sa.BindParameter[str] = sa.bindparam("annotator")
_criterion: sa.BindParameter[str] = sa.bindparam("criterion")
_kinds: sa.BindParameter[Any] = sa.bindparam("kinds", expanding=True)

_NOT_ANSWERED = [
    ~sa.exists().where(
        table.c.query_id == queue.c.query_id, table.c.annotator == _annotator,
        table.c.criterion == queue.c.criterion, ~table.c.undone,
    )
    for table in (tables.preferences, tables.ratings)
]  # fmt: skip
_num_leases = sa.select(sa.func.count()).where(leases.c.queue_seq == queue.c.seq).scalar_subquery()

_ENTRY = sa.select(queue).where(
    queue.c.query_id == sa.bindparam("query_id"), queue.c.criterion == _criterion
)
_ASKABLE = (
    sa.select(queue)
    .where(
        queue.c.is_open, queue.c.criterion == _criterion, queue.c.role == sa.bindparam("role"),
        queue.c.annotator == "", queue.c.kind.in_(_kinds), *_NOT_ANSWERED,
        queue.c.num_answers + _num_leases < queue.c.overlap,
    )
    .order_by(queue.c.priority.desc(), queue.c.seq)
)  # fmt: skip
_FIRST = _ASKABLE.limit(sa.bindparam("num"))
_AHEAD = (
    _ASKABLE.with_only_columns(queue.c.query_id)
    .where(~sa.exists().where(leases.c.queue_seq == queue.c.seq, leases.c.annotator == _annotator))
    .limit(sa.bindparam("num"))
)
_RESERVED = (
    sa.select(queue)
    .where(
        queue.c.is_open, queue.c.criterion == _criterion, queue.c.role.in_([REPEAT, ATTENTION]),
        queue.c.annotator == _annotator, queue.c.kind.in_(_kinds), *_NOT_ANSWERED,
    )
    .order_by(queue.c.seq)
    .limit(sa.bindparam("num"))
)  # fmt: skip
_others = (
    sa.select(sa.func.count())
    .where(leases.c.queue_seq == queue.c.seq, leases.c.annotator != _annotator)
    .scalar_subquery()
)
_asked_of_all = (
    queue.c.is_open, queue.c.criterion == _criterion, queue.c.role == ASK, queue.c.annotator == "",
)  # fmt: skip
_OPEN = sa.select(sa.func.count()).select_from(queue).where(*_asked_of_all)
# From what there is little of, what somebody said and what is leased, to its place in the queue.
_DONE = [
    sa.select(sa.func.count())
    .select_from(table.join(queue, queue.c.query_id == table.c.query_id))
    .where(
        table.c.annotator == _annotator, table.c.criterion == _criterion, ~table.c.undone,
        *_asked_of_all,
    )
    for table in (tables.preferences, tables.ratings)
]  # fmt: skip
_TAKEN = sa.select(sa.func.count()).select_from(queue).where(
    queue.c.seq.in_(sa.select(leases.c.queue_seq)), *_asked_of_all, *_NOT_ANSWERED,
    queue.c.num_answers + _others >= queue.c.overlap,
)  # fmt: skip


def find_entry(connection: sa.Connection, query_id: str, criterion: str) -> Entry:
    """Return the place of a query in the queue.

    Raises:
        UnknownError: It is not queued for this criterion.
    """
    values = {"query_id": query_id, "criterion": criterion}
    row = connection.execute(_ENTRY, values).mappings().first()
    if row is None:
        raise UnknownError(f"Query '{query_id}' is not asked here by the criterion '{criterion}'.")
    return Entry(**row)


def first_askable(
    connection: sa.Connection, annotator: str, criterion: str, kinds: Sequence[str], *,
    role: str = ASK, but: Collection[str] = frozenset(),
) -> Entry | None:  # fmt: skip
    """Return the most urgent query that anybody may be asked and this annotator has not been.

    Args:
        connection: To the database.
        annotator: Who is to be asked.
        criterion: By what they judge.
        kinds: Which kinds of queries.
        role: Which role.
        but: Ids of queries that are passed over.
    """
    values = {"annotator": annotator, "criterion": criterion, "kinds": list(kinds), "role": role}
    return _first(connection, _FIRST, values, but)


def askable_ahead(
    connection: sa.Connection, annotator: str, criterion: str, kinds: Sequence[str], num: int,
    but: Collection[str] = frozenset(),
) -> list[str]:  # fmt: skip
    """Return the ids of the most urgent of them that this annotator has no lease on."""
    values = {
        "annotator": annotator, "criterion": criterion, "kinds": list(kinds), "role": ASK,
        "num": num + len(but),
    }  # fmt: skip
    return [name for name in connection.scalars(_AHEAD, values) if name not in but][:num]


def count_open(connection: sa.Connection, criterion: str) -> int:
    """Return how many queries wait for somebody, whoever that is."""
    return int(connection.scalar(_OPEN, {"criterion": criterion}) or 0)


def count_closed_to(connection: sa.Connection, annotator: str, criterion: str) -> int:
    """Return how many of these an annotator is not asked: answered by them, or held by others."""
    values = {"annotator": annotator, "criterion": criterion}
    return sum(int(connection.scalar(each, values) or 0) for each in (*_DONE, _TAKEN))


def first_reserved(
    connection: sa.Connection, annotator: str, criterion: str, kinds: Sequence[str],
    but: Collection[str] = frozenset(),
) -> Entry | None:  # fmt: skip
    """Return the check that is queued for this annotator alone, if there is one."""
    values = {"annotator": annotator, "criterion": criterion, "kinds": list(kinds)}
    return _first(connection, _RESERVED, values, but)


def is_left(
    connection: sa.Connection, annotator: str, criterion: str, but: Collection[str] = frozenset()
) -> bool:
    """Return whether something is open that this annotator has not answered, leased or not."""
    waiting = sa.select(queue.c.query_id).where(*is_waiting(criterion), *_NOT_ANSWERED)
    names = connection.scalars(waiting.limit(len(but) + 1), {"annotator": annotator})
    return any(name not in but for name in names)


def _first(
    connection: sa.Connection, statement: sa.Select[Any], values: dict[str, Any],
    but: Collection[str],
) -> Entry | None:  # fmt: skip
    """Return the first row whose query is not passed over: it is among one more than these."""
    rows = connection.execute(statement, values | {"num": len(but) + 1}).mappings()
    return next((Entry(**row) for row in rows if row["query_id"] not in but), None)
