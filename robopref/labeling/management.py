"""What is done around the labelling: adding queries, decisions, comparisons, files in and out."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.labeling.adjudication import decide, find_disagreements
from robopref.labeling.comparison import STRATEGY, compare, make_comparisons, policy_of
from robopref.labeling.eligible import find_entry
from robopref.labeling.messages import AdjudicationIn, CandidateIn, QueriesIn, QueryIn
from robopref.labeling.progress import Progress
from robopref.labeling.refusals import ConflictError, UnknownError
from robopref.labeling.service import LabelService
from robopref.labeling.sidecar import write_sidecar
from robopref.labeling.worker import ClipError
from robopref.preferences import tables
from robopref.preferences.database import find
from robopref.preferences.query import ActionCandidate, Item, Query
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.rating import (
    Rating,
    RatingQuery,
    rating_of,
    rating_query_of,
    rating_query_row,
)

Plain = dict[str, Any]

EXPORTS = {
    "parquet": ".parquet", "jsonl": ".jsonl", "chosen_rejected": ".jsonl", "lerobot": ".parquet",
}  # fmt: skip
"""Forms in which answers are written, with the ending of the file."""


class Management:
    """What is done around the labelling of a project.

    Args:
        service: The project.
    """

    def __init__(self, service: LabelService) -> None:
        self.service = service
        self.store = service.store
        self.progress = Progress(service.store, service.queue)

    def add_queries(self, body: QueriesIn) -> list[str]:
        """Add queries to be asked; return their ids. Those that are there already stay as they are.

        Raises:
            ValueError: Items cannot be compared, or a known answer does not fit.
            UnknownError: An episode is not there.
            ConflictError: A query with the same id and other items is there.
        """
        made = [_query(each) for each in body.queries]
        for query, each in zip(made, body.queries, strict=True):
            if each.gold is not None:
                if isinstance(query, RatingQuery):
                    raise ValueError("`gold` is for queries that compare items.")
                order = tuple(tuple(group) for group in each.gold.order)
                Ranking(len(query.items), order, Answer(each.gold.answer))
        self._check_there(made)
        context = {"data": str(self.service.episodes.root)}
        with self.service.lock:
            hashed = self.service.episodes.content_hash
            compared = [query for query in made if isinstance(query, Query)]
            try:
                self.store.add_queries(compared, cut_hash=hashed, context=context)
            except DataError as error:
                raise ConflictError("id-taken", str(error)) from error
            rows = [
                rating_query_row(query, hashed(query.item), context=context, created_s=time.time())
                for query in made
                if isinstance(query, RatingQuery)
            ]
        with self.store.database.writing() as connection:
            for row in rows:
                if find(connection, tables.rating_queries, row["id"]) is None:
                    connection.execute(tables.rating_queries.insert(), row)
        self.service.queue.fill()
        self._set_gold_and_priority(made, body.queries)
        return [query.id for query in made]

    def disagreements(self, criterion: str) -> list[Plain]:
        """Return the queries that were answered differently, as the page shows them."""
        found = []
        for query_id, answers in find_disagreements(self.store.database, criterion).items():
            query = self.service.query(query_id)
            try:
                shown = self.service.presenter.describe(query, criterion)
            except ClipError:
                continue  # It can be decided by nobody who cannot see it.
            found.append({"query": shown, "answers": answers})
        return found

    def adjudicate(self, annotator: str, body: AdjudicationIn) -> bool:
        """Keep a decision; return whether it is new.

        Raises:
            UnknownError: There is no such query.
            ConflictError: It is decided already.
        """
        query = self.service.query(body.query)
        if not isinstance(query, Query):
            raise ValueError(f"Query '{body.query}' is rated, not ordered.")
        order = tuple(tuple(group) for group in body.order)
        ranking = Ranking(len(query.items), order, Answer(body.answer))
        row = {
            "id": str(body.id), "query_id": query.id,
            "criterion": self.service.check_criterion(body.criterion),
            "answer": body.answer, "order": [list(group) for group in ranking.order],
            "annotator": annotator, "reason": body.note, "time_s": time.time(),
        }  # fmt: skip
        new = decide(self.store.database, row)
        if new and body.gold:
            expected = {"answer": row["answer"], "order": row["order"]}
            with self.store.database.writing() as connection:
                self.service.queue.set_gold(connection, query.id, body.criterion, expected)
        return new

    def add_comparisons(self, num: int, policies: list[str]) -> list[str]:
        """Ask for comparisons of policies; return the ids of their queries.

        Raises:
            DataError: There is nothing to compare.
        """
        asked = [query for query in self.store.queries() if query.strategy == STRATEGY]
        rng = np.random.default_rng()
        with self.service.lock:
            self.service.refresher.refresh()
            made = make_comparisons(self.service.episodes, num, rng, policies=policies, asked=asked)
            self.store.add_queries(made, cut_hash=self.service.episodes.content_hash)
        self.service.queue.fill()
        return [query.id for query in made]

    def comparison(self, *, reveal: bool) -> Plain:
        """Return how policies compare, and how many comparisons wait."""
        with self.service.lock:
            self.service.refresher.refresh()
            policies = {row.episode_id: policy_of(row) for row in self.service.episodes.rows}
        queue, queries = tables.label_queue, tables.queries
        waiting = (
            sa.select(sa.func.count())
            .select_from(queue)
            .join(queries, queries.c.id == queue.c.query_id)
            .where(queue.c.is_open, queries.c.strategy == STRATEGY)
        )
        with self.store.database.reading() as connection:
            num = int(connection.scalar(waiting) or 0)
        return {
            "criteria": compare(self.store.preferences(), policies, reveal=reveal), "waiting": num,
        }  # fmt: skip

    def ratings(self) -> list[Rating]:
        """Return all ratings that stand, in the order in which they were given."""
        ratings, queries = tables.ratings, tables.rating_queries
        with self.store.database.reading() as connection:
            asked = {
                row["id"]: rating_query_of(dict(row))
                for row in connection.execute(sa.select(queries)).mappings()
            }
            rows = connection.execute(
                sa.select(ratings).where(~ratings.c.undone).order_by(ratings.c.seq)
            ).mappings()
            return [rating_of(dict(row), asked[row["query_id"]]) for row in rows]

    def export(self, form: str, path: Path) -> None:
        """Write all answers to a file in one of `EXPORTS`."""
        if form == "lerobot":
            write_sidecar(path, self.service.episodes, self.store.preferences(), self.ratings())
            return
        write: Callable[[Path], int] = getattr(self.store, f"export_{form}")
        write(path)

    def import_jsonl(self, path: Path) -> int:
        """Add what `export` wrote as jsonl; return how many answers were new.

        Raises:
            ValueError: It is not such a file, or contradicts what the store holds.
        """
        try:
            new = self.store.import_jsonl(path)
        except DataError as error:
            raise ValueError(str(error).replace(f" of '{path}'", "")) from error
        self.service.queue.fill()
        return new

    def _check_there(self, made: list[Query | RatingQuery]) -> None:
        """Check that the data set holds what is asked about."""
        with self.service.lock:
            for item in (item for query in made for item in query.items):
                try:
                    self.service.episodes.cut(_steps(item))
                except DataError as error:
                    raise UnknownError(str(error)) from error

    def _set_gold_and_priority(
        self, made: list[Query | RatingQuery], bodies: list[QueryIn]
    ) -> None:
        for criterion in self.service.config.names:
            self.service.queue.reorder(
                criterion,
                [
                    (query.id, body.priority, body.reason)
                    for query, body in zip(made, bodies, strict=True)
                    if body.priority
                ],
            )
            with self.store.database.writing() as connection:
                for query, body in zip(made, bodies, strict=True):
                    if body.gold is not None:
                        find_entry(connection, query.id, criterion)
                        self.service.queue.set_gold(
                            connection, query.id, criterion, body.gold.model_dump()
                        )


def _query(body: QueryIn) -> Query | RatingQuery:
    name = str(body.id or uuid.uuid4())
    items: tuple[Item, ...] = tuple(_item(item) for item in body.items)
    if len(items) != 1:
        return Query(name, items, "asked", body.reason)
    (item,) = items
    if not isinstance(item, Segment):
        raise ValueError("One candidate alone cannot be rated; give a segment.")
    return RatingQuery(name, item, "asked", body.reason)


def _item(body: Any) -> Item:
    if isinstance(body, CandidateIn):
        action = tuple(tuple(step) for step in body.action)
        return ActionCandidate(body.episode_id, body.step, action)
    return Segment(body.episode_id, body.start, body.length)


def _steps(item: Item) -> Segment:
    return item if isinstance(item, Segment) else Segment(item.episode_id, item.step, 1)
