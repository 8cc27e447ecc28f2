"""Where queries and answers are kept: SQLAlchemy on a SQLite file, or PostgreSQL by URL.

An answer that was acknowledged is on disk: each is one transaction, SQLite runs with a write-ahead
log flushed at every commit, and PostgreSQL with `synchronous_commit`. Every answer carries an id
made by whoever gave it, so that sending it twice counts once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from robopref.data.segment import Segment
from robopref.errors import DataError, check_at_least
from robopref.preferences import exchange, exports, records, tables
from robopref.preferences.belief import believe, settle
from robopref.preferences.changes import changed_items
from robopref.preferences.database import Database, count_answer, filters, find, known_answers
from robopref.preferences.preference import Preference
from robopref.preferences.query import ATTENTION, Query
from robopref.preferences.ranking import Answer


class PreferenceStore:
    """Queries and the answers to them.

    Args:
        location: Path of a SQLite file, or a URL such as `postgresql://user@host/name`.
        create: Make the store where there is none.

    Raises:
        DataError: What is there is not a preference store of this version.
        FileNotFoundError: There is none, and `create` is False.
        MissingExtraError: The URL needs a database driver that is not installed.
    """

    def __init__(self, location: str | Path, *, create: bool = True) -> None:
        self.database = Database(location, create=create)
        self._name = self.database.name

    def __enter__(self) -> PreferenceStore:
        """Return the store."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def add_query(
        self,
        query: Query,
        *,
        cut_hash: Callable[[Segment], str],
        context: Mapping[str, Any] | None = None,
    ) -> bool:
        """Keep one query; see `add_queries`."""
        return self.add_queries([query], cut_hash=cut_hash, context=context) == 1

    def add_queries(
        self,
        queries: Iterable[Query],
        *,
        cut_hash: Callable[[Segment], str],
        context: Mapping[str, Any] | None = None,
    ) -> int:
        """Keep queries, all or none, in the order in which they are to be asked.

        Args:
            queries: The queries; one that is there already is left as it is.
            cut_hash: Gives the content hash of a segment: `EpisodeStore.content_hash`.
            context: Where they come from, as plain values: data set, run, round.

        Returns:
            How many were new.

        Raises:
            DataError: A query with the same id and other items is there.
        """
        now = time.time()
        rows = [
            records.query_row(
                query,
                [records.hash_item(item, cut_hash) for item in query.items],
                context=context or {},
                created_s=now,
            )
            for query in queries
        ]
        with self.database.writing() as connection:
            return sum(self.database.insert_query(connection, row) for row in rows)

    def queries(self) -> list[Query]:
        """Return all queries, answered or not, in the order in which they were added."""
        table = tables.queries
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.seq)).mappings()
            return [records.query_of(dict(row)) for row in rows]

    def query(self, query_id: str) -> Query:
        """Return one query.

        Raises:
            DataError: It is not there.
        """
        with self.database.reading() as connection:
            row = find(connection, tables.queries, query_id)
        if row is None:
            raise DataError(f"No query '{query_id}' in {self._name}.")
        return records.query_of(row)

    def pending(
        self,
        annotator: str | None = "scripted",
        criterion: str = "overall",
        limit: int | None = None,
    ) -> list[Query]:
        """Return the queries that `annotator` has not answered by `criterion`, oldest first.

        A query that was skipped, or answered with "cannot tell", is not pending. Without an
        annotator, a query is pending that nobody has answered.
        """
        if limit is not None:
            check_at_least("limit", limit, 0)
        queries, preferences = tables.queries, tables.preferences
        answered = sa.exists().where(
            preferences.c.query_id == queries.c.id, *filters(criterion, annotator)
        )
        statement = sa.select(queries).where(~answered).order_by(queries.c.seq).limit(limit)
        with self.database.reading() as connection:
            rows = connection.execute(statement).mappings()
            return [records.query_of(dict(row)) for row in rows]

    def answer(self, preference: Preference) -> bool:
        """Keep an answer; when this returns, it is on disk.

        Returns:
            True if it is new; False if it was there already, or was there and undone since.

        Raises:
            DataError: Its query is not in the store or has other items, another answer has its
                id, or this annotator answered the query by this criterion already.
        """
        row = records.preference_row(preference) | {"query_id": preference.query.id}
        with self.database.writing() as connection:
            query = find(connection, tables.queries, preference.query.id)
            if query is None:
                raise DataError(
                    f"Query '{preference.query.id}' is not in {self._name}. "
                    "Add it first with add_queries()."
                )
            if records.query_of(query) != preference.query:
                raise DataError(f"Query '{preference.query.id}' in {self._name} has other items.")
            return self.database.insert_preference(connection, row)

    def answer_all(
        self,
        preferences: Iterable[Preference],
        *,
        cut_hash: Callable[[Segment], str],
        context: Mapping[str, Any] | None = None,
    ) -> int:
        """Keep many answers with their queries, all or none; return how many were new.

        Args:
            preferences: The answers.
            cut_hash: As for `add_queries`.
            context: As for `add_queries`.

        Raises:
            DataError: One contradicts what the store holds.
        """
        hashed, now = functools.cache(cut_hash), time.time()
        rows = []
        for preference in preferences:
            hashes = [records.hash_item(item, hashed) for item in preference.query.items]
            query = records.query_row(
                preference.query, hashes, context=context or {}, created_s=now
            )
            rows.append(records.preference_row(preference) | {"query": query})
        return exchange.add_rows(self.database, rows)

    def preferences(
        self, criterion: str | None = None, annotator: str | None = None
    ) -> list[Preference]:
        """Return the answers in the order in which they were given; None means any.

        Those to attention checks are none: they say nothing of the items.
        """
        answers = self.database.answers(criterion, annotator)
        return [records.preference_of(row, records.query_of(query)) for row, query in answers]

    def num_labels(self, criterion: str | None = None, annotator: str | None = None) -> int:
        """Count labels: K - 1 for an ordered query of K items; ties count, skips do not."""
        queries, preferences = tables.queries, tables.preferences
        statement = (
            sa.select(sa.func.coalesce(sa.func.sum(queries.c.num_items - 1), 0))
            .join_from(preferences, queries)
            .where(preferences.c.answer == str(Answer.RANKED), queries.c.strategy != ATTENTION)
            .where(*filters(criterion, annotator))
        )
        with self.database.reading() as connection:
            return int(connection.scalar(statement) or 0)

    def num_decided(self, criterion: str) -> int:
        """Count the answers that prefer something: a reward can be fitted to no others."""
        queries, preferences = tables.queries, tables.preferences
        # Of one group is what judges all items equal.
        statement = (
            sa.select(sa.func.count())
            .select_from(sa.join(preferences, queries))
            .where(preferences.c.answer == str(Answer.RANKED), queries.c.strategy != ATTENTION)
            .where(sa.func.json_array_length(preferences.c.order) > 1)
            .where(*filters(criterion, None))
        )
        with self.database.reading() as connection:
            return int(connection.scalar(statement) or 0)

    def undo(self, preference_id: str) -> Preference:
        """Take an answer back and return it; its query is pending again.

        Raises:
            DataError: There is no such answer, or it was undone before.
        """
        table = tables.preferences
        with self.database.writing() as connection:
            row = find(connection, table, preference_id)
            if row is None or row["undone"]:
                raise DataError(f"No answer '{preference_id}' to undo in {self._name}.")
            connection.execute(table.update().where(table.c.id == preference_id), {"undone": True})
            count_answer(connection, row, -1)
            query = find(connection, tables.queries, row["query_id"])
        assert query is not None  # the database keeps to its foreign key
        return records.preference_of(row, records.query_of(query))

    def verify(
        self, cut_hash: Callable[[Segment], str], query_ids: Iterable[str] | None = None
    ) -> list[records.ChangedItem]:
        """Return the items whose clip has changed or is gone since their query was made.

        Args:
            cut_hash: Gives the content hash of a segment now: `EpisodeStore.content_hash`.
            query_ids: Queries to look at; None for all that are answered.
        """
        if query_ids is None:
            query_ids = {row["query_id"] for row, _ in self.database.answers(None, None)}
        return changed_items(self.database, cut_hash, query_ids)

    def export_jsonl(self, path: Path) -> int:
        """Write all that was said with its query to `path`, one JSON object a line.

        `type` tells answers, ratings and decisions apart; how many rows there are is returned.
        """
        return exports.write_jsonl(path, exchange.rows_of(self.database))

    def export_parquet(self, path: Path) -> int:
        """Write the same to `path` as parquet; return how many rows there are."""
        return exports.write_parquet(path, exchange.rows_of(self.database))

    def export_chosen_rejected(self, path: Path) -> int:
        """Write `chosen_rejected` to `path`, one JSON object a line; return how many."""
        pairs = (pair for each in self.believed() for pair in exports.chosen_rejected(each))
        return exports.write_jsonl(path, pairs)

    def believed(self, criterion: str | None = None) -> list[Preference]:
        """Return the answers as rewards are to be fitted to them, in the order of answering.

        Where annotators differed and it was decided, the decision stands for their answers; the
        confidence of the others says how reliable who gave them has proved, by
        decisions and by queries whose answer is known too.
        """
        decisions = self.database.decisions(criterion)
        known = {**known_answers(self.database, criterion), **decisions}
        return settle(believe(self.preferences(criterion), known), decisions)

    def chosen_rejected(self, criterion: str | None = None) -> list[dict[str, Any]]:
        """Return decided pairs in the form that TRL's trainers read: prompt, chosen, rejected.

        They are those of `believed`. The prompt is the criterion; ties have no winner and are left
        out.
        """
        return [
            pair
            for preference in self.believed(criterion)
            for pair in exports.chosen_rejected(preference)
        ]

    def import_jsonl(self, path: Path) -> int:
        """Add what `export_jsonl` wrote, all or none; return how many rows were new.

        Raises:
            DataError: A line is not such a row, or contradicts what the store holds.
            FileNotFoundError: There is no such file.
        """
        return exchange.add_rows(self.database, exports.read_jsonl(path))
