"""What is to be labelled, in which order: rows of the table `label_queue`.

Every query is queued once for each criterion. How many answers it has is kept up by whoever adds
or undoes one (`robopref.preferences.database`), so that what is open is found by an index, however
many labels there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from robopref.labeling.config import LabelConfig
from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.query import ATTENTION, Query
from robopref.preferences.records import CANDIDATES, SEGMENTS, query_of

ASK, GOLD, REPEAT = "ask", "gold", "repeat"
"""Roles, beside `ATTENTION`: asked of `overlap` annotators; of everybody, since its answer is
known; of one annotator once more."""
UNLIMITED = 2**31 - 1
"""Overlap of a query that everybody answers."""

queue = tables.label_queue


@dataclass(frozen=True)
class Entry:
    """One row of the queue.

    Args:
        seq: Its number.
        query_id: The query.
        criterion: By what it is to be judged.
        kind: One of `config.KINDS`.
        role: `ASK`, `GOLD`, `REPEAT` or `ATTENTION`.
        annotator: For whom alone it is; empty for anybody.
        priority: The higher, the sooner.
        why: Why it was chosen, in words.
        overlap: How many annotators answer it.
        num_answers: How many have.
        is_open: Whether it takes more answers.
        blocked: Why it cannot be shown; empty if it can.
        expected: The answer, where it is known.
    """

    seq: int
    query_id: str
    criterion: str
    kind: str
    role: str
    annotator: str
    priority: float
    why: str
    overlap: int
    num_answers: int
    is_open: bool
    blocked: str
    expected: Mapping[str, Any] | None


class LabelQueue:
    """The queue of a labelling project.

    Args:
        database: Of the preference store.
        config: The project.
    """

    def __init__(self, database: Database, config: LabelConfig) -> None:
        self.database = database
        self.config = config

    def fill(self) -> int:
        """Queue every query that is not queued yet, in the order of adding; return how many."""
        with self.database.writing() as connection:
            return self.fill_within(connection)

    def fill_within(self, connection: sa.Connection) -> int:
        """Do what `fill` does as a part of another transaction."""
        return sum(self._fill(connection, name) for name in self.config.names)

    def set_overlap(self) -> None:
        """Ask what is open of as many annotators as the project says now, by its own criteria."""
        overlap = self.config.overlap
        with self.database.writing() as connection:
            connection.execute(
                queue.update()
                .where(
                    queue.c.is_open, queue.c.role == ASK, queue.c.annotator == "",
                    queue.c.overlap != overlap, queue.c.criterion.in_(self.config.names),
                )
                .values(overlap=overlap, is_open=queue.c.num_answers < overlap)
            )  # fmt: skip

    def set_gold(
        self, connection: sa.Connection, query_id: str, criterion: str, expected: Mapping[str, Any]
    ) -> None:
        """Ask a queued query of everybody: its answer is known."""
        connection.execute(
            queue.update()
            .where(queue.c.query_id == query_id, queue.c.criterion == criterion)
            .values(
                role=GOLD, expected=dict(expected), overlap=UNLIMITED,
                is_open=queue.c.blocked == "",
            )
        )  # fmt: skip

    def unset_gold(self, connection: sa.Connection, entry: Entry) -> None:
        """Ask a query of as many as any other again: its answer is not known."""
        overlap = self.config.overlap
        connection.execute(
            queue.update()
            .where(queue.c.seq == entry.seq)
            .values(
                role=ASK, expected=sa.null(), overlap=overlap,
                is_open=sa.and_(queue.c.blocked == "", queue.c.num_answers < overlap),
            )
        )  # fmt: skip

    def block(self, query_id: str, reason: str) -> None:
        """Ask a query of nobody: it cannot be shown."""
        with self.database.writing() as connection:
            connection.execute(
                queue.update()
                .where(queue.c.query_id == query_id)
                .values(blocked=reason, is_open=False)
            )

    def unblock(self, query_id: str | None = None) -> bool:
        """Ask a query again that could not be shown, or all of them; return if there was any."""
        which = [queue.c.blocked != ""]
        if query_id is not None:
            which.append(queue.c.query_id == query_id)
        with self.database.writing() as connection:
            changed = connection.execute(
                queue.update()
                .where(*which)
                .values(blocked="", is_open=queue.c.num_answers < queue.c.overlap)
            )
        return changed.rowcount > 0

    def reorder(self, criterion: str, order: Iterable[tuple[str, float, str]]) -> None:
        """Give queries another priority, and say why: (query id, priority, why) of each."""
        with self.database.writing() as connection:
            self.reorder_within(connection, criterion, order)

    @staticmethod
    def reorder_within(
        connection: sa.Connection, criterion: str, order: Iterable[tuple[str, float, str]]
    ) -> None:
        """Do what `reorder` does as a part of another transaction."""
        rows = [
            {"of_query": query_id, "new_priority": priority, "new_why": why}
            for query_id, priority, why in order
        ]
        if not rows:
            return
        statement = (
            queue.update()
            .where(queue.c.query_id == sa.bindparam("of_query"), queue.c.criterion == criterion)
            .values(priority=sa.bindparam("new_priority"), why=sa.bindparam("new_why"))
        )
        connection.execute(statement, rows)

    def open_queries(self, criterion: str, limit: int) -> list[Query]:
        """Return the queries that anybody may be asked, the most urgent first; no ratings."""
        statement = (
            sa.select(tables.queries)
            .join(queue, queue.c.query_id == tables.queries.c.id)
            .where(*is_waiting(criterion))
            .order_by(queue.c.priority.desc(), queue.c.seq)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [query_of(dict(row)) for row in connection.execute(statement).mappings()]

    def num_open(self, criterion: str) -> int:
        """Return how many queries anybody may be asked."""
        statement = sa.select(sa.func.count()).select_from(queue).where(*is_waiting(criterion))
        with self.database.reading() as connection:
            return int(connection.scalar(statement) or 0)

    def blocked(self) -> list[dict[str, str]]:
        """Return the queries that cannot be shown, with the reason."""
        statement = sa.select(queue.c.query_id, queue.c.criterion, queue.c.blocked).where(
            queue.c.blocked != ""
        )
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement.limit(1000)).mappings()]

    def _fill(self, connection: sa.Connection, criterion: str) -> int:
        added = 0
        for table, kind in (
            (tables.queries, _kind_of_row()),
            (tables.rating_queries, sa.literal("rating")),
        ):
            mark = f"label_queued {table.name} {criterion}"
            last, newest = self._marks(connection, mark, table)
            if newest == last:
                continue
            answers = _count_answers(table, criterion)
            # Checks are for one annotator and one criterion.
            chosen = sa.select(
                table.c.id, sa.literal(criterion), kind, sa.literal(ASK), sa.literal(""),
                sa.literal(0.0, sa.Double), table.c.reason,
                sa.literal(self.config.overlap, sa.Integer), answers,
                answers < self.config.overlap, sa.literal(""),
            ).where(
                table.c.seq > last,
                table.c.strategy.not_in([REPEAT, ATTENTION]),
                ~sa.exists().where(
                    queue.c.query_id == table.c.id, queue.c.criterion == criterion
                ),
            ).order_by(table.c.seq)  # fmt: skip
            columns = [
                "query_id", "criterion", "kind", "role", "annotator", "priority", "why",
                "overlap", "num_answers", "is_open", "blocked",
            ]  # fmt: skip
            added += connection.execute(queue.insert().from_select(columns, chosen)).rowcount
            write_meta(connection, mark, str(newest))
        return added

    @staticmethod
    def _marks(connection: sa.Connection, mark: str, table: sa.Table) -> tuple[int, int]:
        """Return up to which query the queue was filled, and which is the newest."""
        last = read_meta(connection, mark)
        newest = connection.scalar(sa.select(sa.func.max(table.c.seq)))
        return int(last or 0), int(newest or 0)


def is_waiting(criterion: str) -> Sequence[Any]:
    """Return the conditions for what anybody may be asked; they fit the index of open rows."""
    return (
        queue.c.is_open, queue.c.criterion == criterion, queue.c.role == ASK,
        queue.c.annotator == "",
    )  # fmt: skip


def insert_entry(connection: sa.Connection, **fields: Any) -> None:
    """Queue one query, for anybody by default."""
    usual = {
        "role": ASK, "annotator": "", "priority": 0.0, "why": "", "overlap": 1, "num_answers": 0,
        "is_open": True, "blocked": "", "expected": None,
    }  # fmt: skip
    connection.execute(queue.insert(), usual | fields)


def read_meta(connection: sa.Connection, key: str) -> str | None:
    """Return a value that is kept for the whole store."""
    value = connection.scalar(sa.select(tables.meta.c.value).where(tables.meta.c.key == key))
    return None if value is None else str(value)


def write_meta(connection: sa.Connection, key: str, value: str) -> None:
    """Keep a value for the whole store."""
    changed = connection.execute(
        tables.meta.update().where(tables.meta.c.key == key), {"value": value}
    )
    if not changed.rowcount:
        connection.execute(tables.meta.insert(), {"key": key, "value": value})


def _kind_of_row() -> Any:
    queries = tables.queries.c
    return sa.case(
        (queries.kind == CANDIDATES, "candidates"),
        (sa.and_(queries.kind == SEGMENTS, queries.num_items == 2), "pair"),
        else_="ranking",
    )


def _count_answers(table: sa.Table, criterion: str) -> Any:
    """Return how many answers that are no skips a query has."""
    answers, said = (
        (tables.ratings, tables.ratings.c.rating)
        if table is tables.rating_queries
        else (tables.preferences, tables.preferences.c.answer)
    )
    return (
        sa.select(sa.func.count())
        .where(
            answers.c.query_id == table.c.id, answers.c.criterion == criterion,
            ~answers.c.undone, said != "skipped",
        )
        .scalar_subquery()
    )  # fmt: skip
