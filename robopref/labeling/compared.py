"""Answers to queries that compare policies, read without reading any others.

A project may hold a million answers, few of which compare policies.
"""

import functools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from robopref.labeling.recent import IN_ONE
from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.ranking import Answer, Ranking

STRATEGY = "policy-comparison"
"""What proposed the queries that compare policies."""

queries, preferences = tables.queries, tables.preferences


@dataclass(frozen=True)
class Judged:
    """What is said of episodes.

    Args:
        criterion: By what was judged.
        episodes: Their ids, in the order of the query's items.
        ranking: The answer, or what was decided on where answers differed.
    """

    criterion: str
    episodes: tuple[str, ...]
    ranking: Ranking


class ComparedQueries:
    """Which queries compare policies, and their episodes; read once, then only what is new.

    Args:
        database: Of the preference store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, ...]] = {}
        self._last_seq = 0

    def episodes(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of the episodes that each query compares, by its id."""
        newest = sa.select(sa.func.max(queries.c.seq))
        with self._lock, self._database.reading() as connection:
            last = connection.scalar(newest) or 0
            rows = connection.execute(
                sa.select(queries.c.id, queries.c["items"]).where(
                    queries.c.seq > self._last_seq,
                    queries.c.seq <= last,
                    queries.c.strategy == STRATEGY,
                )
            )
            for query_id, items in rows:
                self._known[query_id] = tuple(item["episode_id"] for item in items)
            self._last_seq = last
            return dict(self._known)

    def judged(self) -> Iterator[Judged]:
        """Yield what was answered; of a query that was decided, the decision in its place."""
        episodes, decisions, done = self.episodes(), self._database.decisions(), set()
        for query_id, criterion, answer, order in self._answers(list(episodes)):
            own, place = episodes[query_id], (query_id, criterion)
            if place not in decisions:
                yield Judged(criterion, own, _ranking(len(own), answer, order))
            elif place not in done:
                done.add(place)
                yield Judged(criterion, own, decisions[place])

    def made_by(self, request_id: str) -> list[str]:
        """Return the queries that a request has added before."""
        statement = sa.select(queries.c.id, queries.c.context).where(queries.c.strategy == STRATEGY)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(queries.c.seq)).all()
        return [str(name) for name, context in rows if context.get("request") == request_id]

    def num_waiting(self) -> int:
        """Return how many comparisons wait for an answer."""
        queue = tables.label_queue
        waiting = (
            sa.select(sa.func.count())
            .select_from(queue)
            .join(queries, queries.c.id == queue.c.query_id)
            .where(queue.c.is_open, queries.c.strategy == STRATEGY)
        )
        with self._database.reading() as connection:
            return int(connection.scalar(waiting) or 0)

    def _answers(self, ids: list[str]) -> Iterator[tuple[str, str, str, str]]:
        # As text: there are few different orders, and reading JSON takes longer than all else.
        order = sa.cast(preferences.c.order, sa.String)
        columns = (preferences.c.query_id, preferences.c.criterion, preferences.c.answer, order)
        with self._database.reading() as connection:
            for start in range(0, len(ids), IN_ONE):
                some = preferences.c.query_id.in_(ids[start : start + IN_ONE])
                for row in connection.execute(
                    sa.select(*columns).where(~preferences.c.undone, some)
                ):
                    yield row[0], row[1], row[2], row[3]


@functools.lru_cache(maxsize=10_000)
def _ranking(num_items: int, answer: str, order: str) -> Ranking:
    return Ranking(num_items, tuple(tuple(group) for group in json.loads(order)), Answer(answer))
