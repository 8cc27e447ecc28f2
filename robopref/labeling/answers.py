"""Answers and ratings taken, and taken back: one transaction each, on disk when it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from robopref.errors import DataError
from robopref.labeling.assignment import Assigned, Assignment
from robopref.labeling.eligible import find_entry
from robopref.labeling.queue import Entry
from robopref.labeling.refusals import ConflictError, UnknownError
from robopref.preferences import records, tables
from robopref.preferences.database import Database, count_answer, find, is_skip
from robopref.preferences.preference import Preference
from robopref.preferences.rating import Rating, rating_row
from robopref.preferences.records import Row

preferences, ratings = tables.preferences, tables.ratings


@dataclass(frozen=True)
class Stored:
    """What became of an answer.

    Args:
        new: Whether it was not there before; an answer sent again is stored once.
        entry: The query's place in the queue.
    """

    new: bool
    entry: Entry


class Answers:
    """Takes answers of annotators who were handed queries.

    Args:
        database: Of the preference store.
        assignment: Who was handed what.
    """

    def __init__(self, database: Database, assignment: Assignment) -> None:
        self.database = database
        self.assignment = assignment

    def answer(self, preference: Preference) -> Stored:
        """Keep an answer; when this returns, it is on disk.

        An answer that comes after its lease has expired is taken while the query has room.

        Raises:
            ConflictError: The query has all answers that it needs, this annotator answered it
                already, it checks another one, or another answer has its id.
            UnknownError: The query is not asked here by this criterion.
        """
        row = records.preference_row(preference) | {"query_id": preference.query.id}
        return self._keep(preferences, row, self.database.insert_preference)

    def rate(self, rating: Rating) -> Stored:
        """Keep a rating as `answer` does an answer."""
        return self._keep(ratings, rating_row(rating), self.database.insert_rating)

    def undo(self, answer_id: str, annotator: str) -> Assigned:
        """Take an annotator's own answer or rating back; return its query with a fresh lease.

        Taken back again, it comes back as it does the first time.

        Raises:
            UnknownError: There is no such answer of theirs.
        """
        with self.database.writing() as connection:
            for table in (preferences, ratings):
                row = find(connection, table, answer_id)
                if row is not None and row["annotator"] == annotator:
                    break
            else:
                raise UnknownError(f"'{annotator}' has given no answer '{answer_id}'.")
            entry = find_entry(connection, row["query_id"], row["criterion"])
            if row["undone"]:
                return self._again(connection, row, entry, annotator)
            if is_skip(row):
                # A skip took up no room, and there may be none left.
                self.assignment.check_room(connection, entry, annotator)
            connection.execute(table.update().where(table.c.id == answer_id), {"undone": True})
            count_answer(connection, row, -1)
            self.assignment.count(connection, annotator, row["criterion"], -1)
            entry = find_entry(connection, row["query_id"], row["criterion"])
            return self.assignment.hand_back(connection, entry, annotator)

    def mine(self, annotator: str, limit: int) -> list[dict[str, Any]]:
        """Return an annotator's own answers and ratings that stand, newest first."""
        found = []
        with self.database.reading() as connection:
            for table, kind in ((preferences, "answer"), (ratings, "rating")):
                statement = (
                    sa.select(table, tables.label_queue.c.kind)
                    .outerjoin(
                        tables.label_queue,
                        sa.and_(
                            tables.label_queue.c.query_id == table.c.query_id,
                            tables.label_queue.c.criterion == table.c.criterion,
                        ),
                    )
                    .where(table.c.annotator == annotator, ~table.c.undone)
                    .order_by(table.c.seq.desc())
                    .limit(limit)
                )
                rows = connection.execute(statement).mappings()
                found += [_own(dict(row), kind) for row in rows]
        return sorted(found, key=lambda row: -row["time_s"])[:limit]

    def _keep(
        self, table: sa.Table, row: Row, insert: Callable[[sa.Connection, Row], object]
    ) -> Stored:
        with self.database.writing() as connection:
            entry = find_entry(connection, row["query_id"], row["criterion"])
            if entry.annotator not in ("", row["annotator"]):
                raise ConflictError(
                    "for-another", "This query checks another annotator; ask for the next query."
                )
            known = find(connection, table, row["id"])
            if known is not None:
                _check_same(known, row)
                return Stored(False, entry)
            if not is_skip(row):
                self.assignment.check_room(connection, entry, row["annotator"])
            try:
                insert(connection, row)
            except DataError as error:
                raise ConflictError("answered-already", str(error)) from error
            self.assignment.answered(connection, entry, row["annotator"])
            return Stored(True, entry)

    def _again(
        self, connection: sa.Connection, row: Mapping[str, Any], entry: Entry, annotator: str
    ) -> Assigned:
        """Answer a retried undo: the query is theirs while they have not answered it anew."""
        table = preferences if "answer" in row else ratings
        answered = sa.select(table.c.id).where(
            table.c.query_id == row["query_id"], table.c.annotator == annotator,
            table.c.criterion == row["criterion"], ~table.c.undone,
        )  # fmt: skip
        if connection.execute(answered).first() is not None:
            raise ConflictError(
                "undone-already",
                f"Answer '{row['id']}' was taken back before, and its query answered anew.",
            )
        self.assignment.check_room(connection, entry, annotator)
        return self.assignment.hand_back(connection, entry, annotator)


def _check_same(known: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Check that an answer sent again is the one that was stored; its time may differ."""
    if any(known[key] != value for key, value in row.items() if key != "time_s"):
        raise ConflictError(
            "id-taken",
            f"Answer '{row['id']}' is stored already, with other content. Give a new answer a new "
            "id; to change one, undo it first.",
        )


def _own(row: dict[str, Any], kind: str) -> dict[str, Any]:
    common = (
        "id", "query_id", "criterion", "reason", "time_s", "response_time_s", "details",
    )  # fmt: skip
    own = {key: row[key] for key in common} | {"type": kind, "kind": row["kind"]}
    specific = ("answer", "order", "strength") if kind == "answer" else ("rating", "mark_step")
    return own | {key: row[key] for key in specific}
