"""Queries and answers as rows of a database: transactions, and what must hold when one is added."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from robopref.errors import DataError
from robopref.preferences import schema, tables
from robopref.preferences.belief import Decisions
from robopref.preferences.query import ATTENTION
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.records import Row

AT_ONCE = 1_000
"""Rows that are read from the database at a time."""


class IdTakenError(DataError):
    """Raised when something else that was said has the id of what is added."""


class DecidedError(DataError):
    """Raised when a query that was decided is decided again."""


class Database:
    """The database behind a preference store.

    Args:
        location: Path of a SQLite file, or a URL such as `postgresql://user@host/name`.
        create: Make the tables where there are none.

    Raises:
        DataError: What is there is not a preference store of this version.
        FileNotFoundError: There is none, and `create` is False.
        MissingExtraError: The URL needs a database driver that is not installed.
    """

    def __init__(self, location: str | Path, *, create: bool) -> None:
        self.location = location
        self.engine, self.name = schema.open_engine(location, create=create)
        # Threads that wait for SQLite itself wake up at long intervals, and not in their turn.
        self._turn = threading.Lock()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection to read from.

        Raises:
            DataError: The database cannot be used.
        """
        with schema.readable_errors(self.name), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, passing: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, which is on disk when the block ends.

        Args:
            passing: Do not wait for the disk: what is written may be lost when the power fails.

        Raises:
            DataError: The database cannot be used; nothing of the block was stored.
        """
        with self._turn, schema.readable_errors(self.name), self.engine.connect() as plain:
            connection = plain.execution_options(**{schema.WRITE: True, schema.PASSING: passing})
            with connection.begin():
                schema.take_turn(connection)
                yield connection

    def insert_query(self, connection: sa.Connection, row: Row) -> bool:
        """Add a query and return True; return False if it is there already.

        Raises:
            DataError: A query with the same id and other items is there.
        """
        known = self._known_query(connection, tables.queries, tables.rating_queries, row["id"])
        if known is None:
            connection.execute(tables.queries.insert(), row | {"num_items": len(row["items"])})
            return True
        if known["items"] != row["items"]:
            raise self._query_differs(row["id"])
        return False

    def insert_rating_query(self, connection: sa.Connection, row: Row) -> bool:
        """Add a query about one clip as `insert_query` does one about several."""
        known = self._known_query(connection, tables.rating_queries, tables.queries, row["id"])
        if known is None:
            connection.execute(tables.rating_queries.insert(), row)
            return True
        if known["item"] != row["item"]:
            raise self._query_differs(row["id"])
        return False

    def insert_preference(self, connection: sa.Connection, row: Row) -> bool:
        """Add an answer and return True; return False if it is there already, even if undone.

        Raises:
            DataError: Another answer has its id, or its annotator answered its query by its
                criterion already.
        """
        return self._insert_said(connection, tables.preferences, row, ("answered", "answer"))

    def insert_rating(self, connection: sa.Connection, row: Row) -> bool:
        """Add a rating as `insert_preference` does an answer."""
        return self._insert_said(connection, tables.ratings, row, ("rated", "rating"))

    def insert_decision(self, connection: sa.Connection, row: Row) -> bool:
        """Add a decision and return True; return False if it is there already.

        Raises:
            IdTakenError: Another decision has its id.
            DecidedError: Its query was decided by its criterion.
        """
        return self._insert_decision(connection, tables.adjudications, row)

    def insert_rating_decision(self, connection: sa.Connection, row: Row) -> bool:
        """Add a decision about ratings as `insert_decision` does one about answers."""
        return self._insert_decision(connection, tables.rating_adjudications, row)

    def _insert_decision(self, connection: sa.Connection, table: sa.Table, row: Row) -> bool:
        known = find(connection, table, row["id"])
        if known is not None:
            # Sent again, it may say another time.
            self._check_same("decision", known, row | {"time_s": known["time_s"]})
            return False
        place = (table.c.query_id == row["query_id"], table.c.criterion == row["criterion"])
        who = connection.scalar(sa.select(table.c.annotator).where(*place))
        if who is not None:
            raise DecidedError(
                f"Query '{row['query_id']}' was decided by '{who}' by the criterion "
                f"'{row['criterion']}' already. Take that decision back to make another."
            )
        connection.execute(table.insert(), row)
        return True

    def _insert_said(
        self, connection: sa.Connection, table: sa.Table, row: Row, words: tuple[str, str]
    ) -> bool:
        done, what = words
        try:
            with connection.begin_nested():
                connection.execute(table.insert(), row | {"undone": False})
        except exc.IntegrityError as error:
            known = find(connection, table, row["id"])
            if known is not None:
                self._check_same(what, known, row)
                return False
            stands = sa.select(table.c.id).where(
                table.c.query_id == row["query_id"], table.c.annotator == row["annotator"],
                table.c.criterion == row["criterion"], ~table.c.undone,
            )  # fmt: skip
            if connection.execute(stands).first() is None:
                raise DataError(f"The {what} '{row['id']}' cannot be kept: {error.orig}.") from None
            raise DataError(
                f"Query '{row['query_id']}' was already {done} by '{row['annotator']}' by "
                f"the criterion '{row['criterion']}'. Undo that {what} to give another."
            ) from None
        count_answer(connection, row, 1)
        return True

    def _known_query(
        self, connection: sa.Connection, table: sa.Table, other: sa.Table, name: str
    ) -> Row | None:
        """Return the row of a query; its id may be that of no query of the other kind."""
        known = find(connection, table, name)
        if known is None and find(connection, other, name) is not None:
            raise self._query_differs(name)
        return known

    def _query_differs(self, name: str) -> DataError:
        return DataError(
            f"Query '{name}' is in {self.name} already, with other items or contents. "
            "Give a new query a new id."
        )

    def _check_same(self, what: str, known: Row, row: Row) -> None:
        if any(known[key] != value for key, value in row.items()):
            raise IdTakenError(
                f"{what.capitalize()} '{row['id']}' is in {self.name} already, with other "
                f"content. Give a new {what} a new id."
            )

    def answers(self, criterion: str | None, annotator: str | None) -> Iterator[tuple[Row, Row]]:
        """Yield the rows of answers with those of their queries, in the order of answering.

        Those to attention checks say nothing of the items and are left out.

        Args:
            criterion: Only answers by this one; None means any.
            annotator: Only answers of this one; None means any.
        """
        queries, preferences = tables.queries, tables.preferences
        together = preferences.c.query_id == queries.c.id
        chosen = sa.and_(together, *filters(criterion, annotator), queries.c.strategy != ATTENTION)
        return read_together(self, preferences, queries, chosen)

    def decisions(self, criterion: str | None = None) -> Decisions:
        """Return what was decided where answers differed, by query and criterion.

        Args:
            criterion: Only by this one; None means any.
        """
        adjudications, queries = tables.adjudications, tables.queries
        statement = sa.select(adjudications, queries.c.num_items).join(
            queries, queries.c.id == adjudications.c.query_id
        )
        if criterion is not None:
            statement = statement.where(adjudications.c.criterion == criterion)
        with self.reading() as connection:
            rows = list(connection.execute(statement).mappings())
        return {
            (row["query_id"], row["criterion"]): Ranking(
                row["num_items"], tuple(map(tuple, row["order"])), Answer(row["answer"])
            )
            for row in rows
        }


def read_together(
    database: Database, answers: sa.Table, queries: sa.Table, chosen: sa.ColumnElement[bool]
) -> Iterator[tuple[Row, Row]]:
    """Yield the rows of answers with those of their queries, some at a time.

    Args:
        database: Where they are.
        answers: Table of the answers, in whose order they come.
        queries: Table of the queries.
        chosen: Which rows of both belong together and are wanted.
    """
    names, asked = answers.c.keys(), queries.c.keys()
    statement = sa.select(answers, queries).where(chosen).order_by(answers.c.seq)
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=AT_ONCE).execute(statement):
            values = tuple(row)
            yield (
                dict(zip(names, values[: len(names)], strict=True)),
                dict(zip(asked, values[len(names) :], strict=True)),
            )


def known_answers(database: Database, criterion: str | None = None) -> Decisions:
    """Return the known answers to queries that check annotators (gold), by query and criterion."""
    queue, queries = tables.label_queue, tables.queries
    statement = (
        sa.select(queue.c.query_id, queue.c.criterion, queue.c.expected, queries.c.num_items)
        .join(queries, queries.c.id == queue.c.query_id)
        .where(queue.c.expected.is_not(None), queries.c.strategy != ATTENTION)
    )
    if criterion is not None:
        statement = statement.where(queue.c.criterion == criterion)
    with database.reading() as connection:
        rows = list(connection.execute(statement).mappings())
    return {
        (row["query_id"], row["criterion"]): Ranking(
            row["num_items"],
            tuple(map(tuple, row["expected"]["order"])),
            Answer(row["expected"]["answer"]),
        )
        for row in rows
    }


def count_answer(connection: sa.Connection, row: Row, change: int) -> None:
    """Keep up how many answers the queue of the labelling tool has for a query; skips are none."""
    if is_skip(row):
        return
    queue = tables.label_queue.c
    num = queue.num_answers + change
    connection.execute(
        tables.label_queue.update()
        .where(queue.query_id == row["query_id"], queue.criterion == row["criterion"])
        .values(num_answers=num, is_open=sa.and_(num < queue.overlap, queue.blocked == ""))
    )


def is_skip(row: Row) -> bool:
    """Return whether the row of an answer or of a rating says that its query was passed on."""
    return bool(row.get("answer", row.get("rating")) == str(Answer.SKIPPED))


def filters(criterion: str | None, annotator: str | None) -> Sequence[Any]:
    """Return the conditions for answers that stand, by one criterion or annotator or by any."""
    table = tables.preferences
    conditions = [~table.c.undone]
    if criterion is not None:
        conditions.append(table.c.criterion == criterion)
    if annotator is not None:
        conditions.append(table.c.annotator == annotator)
    return conditions


def find(connection: sa.Connection, table: sa.Table, key: str) -> Row | None:
    """Return the row with the id `key`, or None."""
    row = connection.execute(sa.select(table).where(table.c.id == key)).mappings().first()
    return None if row is None else dict(row)
