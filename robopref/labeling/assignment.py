"""Who is shown which query next, and for how long it is theirs.

A lease keeps a query for one annotator until it expires. An annotator has one lease at most, so
that a page that is loaded again shows what it showed. Answers that stand and leases together never
exceed the overlap of a query. All of it is in the database, in one transaction a step, so several
servers may use one database.
"""

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from robopref.labeling import checks
from robopref.labeling.config import KINDS, LabelConfig
from robopref.labeling.eligible import askable_ahead, first_askable, first_reserved, is_left
from robopref.labeling.kinds import read_query
from robopref.labeling.queue import GOLD, Entry, queue
from robopref.labeling.refusals import ConflictError
from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.query import Query
from robopref.preferences.rating import RatingQuery

NOT_HERE = "What is left is about episodes that are not in this server's data set."
"""Why there is nothing for an annotator here, though elsewhere there may be."""

leases, annotators = tables.label_leases, tables.label_annotators


@dataclass(frozen=True)
class Lease:
    """A query that is kept for an annotator.

    Args:
        id: UUID.
        expires_s: Until when [s since 1970, UTC].
        shown: Order in which the items are shown.
    """

    id: str
    expires_s: float
    shown: tuple[int, ...]


@dataclass(frozen=True)
class Assigned:
    """A query for an annotator.

    Args:
        entry: Its place in the queue.
        query: What is shown.
        lease: For how long it is theirs.
    """

    entry: Entry
    query: Query | RatingQuery
    lease: Lease


class Assignment:
    """Hands out queries.

    Args:
        database: Of the preference store.
        config: The project.
        clock: Gives the time [s since 1970, UTC].
        rng: Draws the order in which items are shown.
        but: Ids of queries that this server passes over; may change at any time.
    """

    def __init__(
        self, database: Database, config: LabelConfig, *,
        clock: Callable[[], float] = time.time, rng: np.random.Generator | None = None,
        but: Collection[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.database = database
        self.config = config
        self.clock = clock
        self.rng = rng or np.random.default_rng()
        self.but = but

    def next(
        self, annotator: str, criteria: Sequence[str] = (), kinds: Sequence[str] = KINDS
    ) -> Assigned | None:
        """Return what an annotator is to judge next, or None if there is nothing for them now.

        What they hold a lease on comes back, with a new term. Queries that check the annotator come
        when they are due; else the most urgent one that still takes answers and is not theirs
        already.

        Args:
            annotator: Who asks.
            criteria: By what they judge; none for every criterion of the project, in its order.
            kinds: Which kinds of queries they are shown.
        """
        criteria = criteria or self.config.names
        with self.database.writing(passing=True) as connection:
            now = self._forget_expired(connection)
            held = self._held(connection, annotator)
            if held is not None:
                entry, lease = held
                wanted = entry.criterion in criteria and entry.kind in kinds
                if wanted and not entry.blocked and entry.query_id not in self.but:
                    lease = self._renewed(connection, lease, now)
                    query = read_query(connection, entry.query_id, entry.kind)
                    return Assigned(entry, query, lease)
                self._drop(connection, lease.id)
            for criterion in criteria:
                chosen = self._choose(connection, annotator, criterion, kinds)
                if chosen is not None:
                    return self._assign(connection, chosen, annotator)
        return None

    def ahead(self, annotator: str, criterion: str, kinds: Sequence[str] = KINDS) -> list[str]:
        """Return the ids of the queries that probably come next, without handing them out."""
        with self.database.reading() as connection:
            return askable_ahead(
                connection, annotator, criterion, kinds, self.config.num_ahead, self.but
            )

    def why_nothing(self, annotator: str, criteria: Sequence[str] = ()) -> str:
        """Return why there is nothing for an annotator, in words."""
        criteria = criteria or self.config.names
        with self.database.reading() as connection:
            for criterion in criteria:
                if is_left(connection, annotator, criterion, self.but):
                    return "waiting for others"
            if any(is_left(connection, annotator, criterion) for criterion in criteria):
                return NOT_HERE
            known = sa.select(queue.c.seq).where(queue.c.criterion.in_(list(criteria))).limit(1)
            if connection.execute(known.where(queue.c.blocked != "")).first():
                return "cannot be shown"
            return "all answered" if connection.execute(known).first() else "no queries yet"

    def renew(self, lease_id: str, annotator: str) -> float:
        """Give a lease a new term; return until when it is.

        Raises:
            ConflictError: It has expired, or is another's.
        """
        with self.database.writing(passing=True) as connection:
            now = self._forget_expired(connection)
            held = self._held(connection, annotator)
            if held is None or held[1].id != lease_id:
                raise ConflictError(
                    "lease-gone",
                    "This query is no longer kept for you: the lease has expired. An answer is "
                    "still taken unless others have answered it; or ask for the next query.",
                )
            return self._renewed(connection, held[1], now).expires_s

    def release(self, lease_id: str, annotator: str) -> bool:
        """Give a query back; return whether it was kept for this annotator."""
        with self.database.writing(passing=True) as connection:
            gone = connection.execute(
                leases.delete().where(leases.c.id == lease_id, leases.c.annotator == annotator)
            )
        return bool(gone.rowcount)

    def hand_back(self, connection: sa.Connection, entry: Entry, annotator: str) -> Assigned:
        """Assign a query whose answer was taken back; what is held otherwise is given up."""
        self._forget_expired(connection)
        connection.execute(leases.delete().where(leases.c.annotator == annotator))
        return self._assign(connection, entry, annotator)

    def check_room(self, connection: sa.Connection, entry: Entry, annotator: str) -> None:
        """Check that a query takes one more answer, of this annotator.

        Raises:
            ConflictError: As many as it needs have answered it or are about to.
        """
        self._forget_expired(connection)
        others = connection.scalar(
            sa.select(sa.func.count()).where(
                leases.c.queue_seq == entry.seq, leases.c.annotator != annotator
            )
        )
        mine = connection.scalar(
            sa.select(leases.c.id).where(
                leases.c.queue_seq == entry.seq, leases.c.annotator == annotator
            )
        )
        if mine is None and entry.num_answers + int(others or 0) >= entry.overlap:
            raise ConflictError(
                "query-full",
                f"This query has the {entry.overlap} answers that it needs, or is being answered "
                "by others: your lease on it had expired. Your answer was not stored; ask for the "
                "next query.",
            )

    def answered(self, connection: sa.Connection, entry: Entry, annotator: str) -> None:
        """Note that an annotator has answered: the lease ends, the count goes up."""
        connection.execute(
            leases.delete().where(leases.c.queue_seq == entry.seq, leases.c.annotator == annotator)
        )
        self.count(connection, annotator, entry.criterion, 1)

    def count(self, connection: sa.Connection, annotator: str, criterion: str, change: int) -> None:
        """Change how many answers an annotator has given by a criterion, skips included."""
        where = (annotators.c.name == annotator, annotators.c.criterion == criterion)
        values = {"num_answers": annotators.c.num_answers + change, "seen_s": self.clock()}
        changed = connection.execute(annotators.update().where(*where).values(values))
        if not changed.rowcount:
            connection.execute(
                annotators.insert(),
                {
                    "name": annotator, "criterion": criterion, "num_answers": max(change, 0),
                    "seen_s": self.clock(),
                },
            )  # fmt: skip

    def num_answered(self, connection: sa.Connection, annotator: str, criterion: str) -> int:
        """Return how many answers an annotator has given by a criterion, skips included."""
        where = (annotators.c.name == annotator, annotators.c.criterion == criterion)
        return int(connection.scalar(sa.select(annotators.c.num_answers).where(*where)) or 0)

    def _choose(
        self, connection: sa.Connection, annotator: str, criterion: str, kinds: Sequence[str]
    ) -> Entry | None:
        """Return a check that is due, or what is most urgent."""
        num = self.num_answered(connection, annotator, criterion)
        reserved = first_reserved(connection, annotator, criterion, kinds, self.but)
        if reserved is not None:
            return reserved
        if checks.is_due(num, self.config.gold_every):
            gold = first_askable(connection, annotator, criterion, kinds, role=GOLD, but=self.but)
            if gold is not None:
                return gold
        # A check is a pair: without those, it would wait, and another be made each time; so it
        # would where one waits that is passed over.
        waits = self.but and first_reserved(connection, annotator, criterion, kinds) is not None
        if "pair" in kinds and not waits and checks.make_due(
            connection, self.config, annotator, criterion, self.rng
        ):  # fmt: skip
            reserved = first_reserved(connection, annotator, criterion, kinds, self.but)
        return reserved or first_askable(connection, annotator, criterion, kinds, but=self.but)

    def _assign(self, connection: sa.Connection, entry: Entry, annotator: str) -> Assigned:
        query = read_query(connection, entry.query_id, entry.kind)
        shown = [int(i) for i in self.rng.permutation(len(query.items))]
        lease = Lease(str(uuid.uuid4()), self.clock() + self.config.lease_s, tuple(shown))
        connection.execute(
            leases.insert(),
            {
                "id": lease.id, "queue_seq": entry.seq, "annotator": annotator, "shown": shown,
                "expires_s": lease.expires_s,
            },
        )  # fmt: skip
        return Assigned(entry, query, lease)

    def _forget_expired(self, connection: sa.Connection) -> float:
        now = self.clock()
        connection.execute(leases.delete().where(leases.c.expires_s <= now))
        return now

    def _held(self, connection: sa.Connection, annotator: str) -> tuple[Entry, Lease] | None:
        """Return what an annotator has a lease on; those that expired are forgotten by then."""
        found = connection.execute(
            sa.select(leases).where(leases.c.annotator == annotator)
        ).mappings().first()  # fmt: skip
        if found is None:
            return None
        row = connection.execute(
            sa.select(queue).where(queue.c.seq == found["queue_seq"])
        ).mappings().one()  # fmt: skip
        return Entry(**row), Lease(found["id"], found["expires_s"], tuple(found["shown"]))

    def _renewed(self, connection: sa.Connection, lease: Lease, now: float) -> Lease:
        expires_s = now + self.config.lease_s
        connection.execute(leases.update().where(leases.c.id == lease.id), {"expires_s": expires_s})
        return Lease(lease.id, expires_s, lease.shown)

    @staticmethod
    def _drop(connection: sa.Connection, lease_id: str) -> None:
        connection.execute(leases.delete().where(leases.c.id == lease_id))
