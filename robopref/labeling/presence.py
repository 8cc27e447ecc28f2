"""What this server passes over: queries about episodes that its data set does not have.

Others may have them: servers with parts of the data, or with a disk that is not mounted here, share
one queue. So nothing of it is in the database, and it ends when the data set changes.
"""

import logging
from collections.abc import Sequence

import sqlalchemy as sa

from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.queue import queue
from robopref.labeling.worker import ClipError
from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.query import Query
from robopref.preferences.rating import RatingQuery

ABSENT, FAULT = "absent", "fault"
"""Why a query is passed over: its episodes are not here, or the server fails at it."""

log = logging.getLogger(__name__)


class AbsentError(ClipError):
    """Raised when a query's episodes are not in this server's data set."""


class Presence:
    """Knows which queries are passed over here.

    Args:
        database: Of the preference store.
        episodes: The data set; one thread at a time uses it, and this.
        criteria: Names of what is judged here.
    """

    def __init__(self, database: Database, episodes: EpisodeStore, criteria: Sequence[str]) -> None:
        self.database = database
        self.episodes = episodes
        self.criteria = criteria
        self.passed_over: dict[str, str] = {}
        self._revision = episodes.revision

    @property
    def num_absent(self) -> int:
        """How many queries are passed over since their episodes are not here."""
        return list(self.passed_over.values()).count(ABSENT)

    def words(self) -> str | None:
        """Return what is passed over, in words; None if nothing is."""
        num = self.num_absent
        one, are = ("query", "is") if num == 1 else ("queries", "are")
        return (
            f"{num} {one} of episodes that are not in this data set {are} passed over here."
            if num
            else None
        )

    def check(self, query: Query | RatingQuery) -> None:
        """Check that a query's episodes are here.

        Of the first that are not, all of the queue is looked through: one by one would take long.

        Raises:
            AbsentError: They are not.
        """
        if self._has([item.episode_id for item in query.items]):
            return
        self.passed_over[query.id] = ABSENT
        for name, episode_ids in self._queued():
            if not self._has(episode_ids):
                self.passed_over[name] = ABSENT
        log.warning("%s", self.words())
        raise AbsentError("This query is about episodes that are not in this server's data set.")

    def forget(self) -> bool:
        """Ask everything again if the data set has changed; return whether that is so."""
        if self._revision == self.episodes.revision or not self.passed_over:
            return False
        self._revision = self.episodes.revision
        self.passed_over.clear()
        return True

    def _has(self, episode_ids: Sequence[str]) -> bool:
        try:
            for name in episode_ids:
                self.episodes.row(name)
        except DataError:
            return False
        return True

    def _queued(self) -> list[tuple[str, list[str]]]:
        """Return the open queries with their episodes."""
        found = []
        for table, items in (
            (tables.queries, tables.queries.c["items"]),
            (tables.rating_queries, tables.rating_queries.c["item"]),
        ):
            statement = (
                sa.select(table.c.id, items)
                .join(queue, queue.c.query_id == table.c.id)
                .where(queue.c.is_open, queue.c.criterion.in_(list(self.criteria)))
            )
            with self.database.reading() as connection:
                for name, value in connection.execute(statement):
                    rows = value if isinstance(value, list) else [value]
                    found.append((str(name), [str(row["episode_id"]) for row in rows]))
        return found
