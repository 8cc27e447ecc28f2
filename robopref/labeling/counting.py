"""How many queries somebody has answered, and how many they have to go."""

import threading
import time

import sqlalchemy as sa

from robopref.data.reader import Recent
from robopref.labeling.answers import Stored
from robopref.labeling.eligible import count_closed_to, count_open
from robopref.labeling.last_known import AT_MOST_OFTEN
from robopref.labeling.queue import ASK
from robopref.preferences import tables
from robopref.preferences.database import Database

REMAINING_S = 20.0
"""How long what others do may leave the number of queries to go as it was [s]."""

annotators = tables.label_annotators.c


class Counting:
    """Counts for annotators; what they do themselves shows at once.

    Args:
        database: Of the preference store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._left: Recent[tuple[float, int]] = Recent(20_000)
        self._open: dict[str, tuple[float, int]] = {}

    def count(self, annotator: str, criterion: str) -> dict[str, int]:
        """Return how many answers there are, of an annotator and of all, and how many to go."""
        statement = sa.select(annotators.name, annotators.num_answers).where(
            annotators.criterion == criterion
        )
        with self._database.reading() as connection:
            counts = {name: int(num) for name, num in connection.execute(statement)}
        return {
            "answered_mine": counts.get(annotator, 0),
            "answered_all": sum(counts.values()),
            "remaining": self._remaining(annotator, criterion),
        }

    def answered(self, annotator: str, stored: Stored) -> None:
        """Note that an annotator has one query less to go."""
        if not stored.new or stored.entry.role != ASK:
            return
        place = (annotator, stored.entry.criterion)
        with self._lock:
            known = self._left.get(place)
            if known is not None:
                self._left.put(place, (known[0], max(known[1] - 1, 0)))

    def outdate(self, annotator: str, criterion: str) -> None:
        """Count anew: an answer was taken back."""
        with self._counting:
            self._open.pop(criterion, None)
        with self._lock:
            self._left.pop((annotator, criterion), None)

    def _remaining(self, annotator: str, criterion: str) -> int:
        now, place = time.monotonic(), (annotator, criterion)
        with self._lock:
            until, num = self._left.get(place) or (0.0, 0)
        if now < until:
            return num
        with self._database.reading() as connection:
            closed = count_closed_to(connection, annotator, criterion)
        num = max(self._num_open(criterion) - closed, 0)
        with self._lock:
            self._left.put(place, (now + REMAINING_S, num))
        return num

    def _num_open(self, criterion: str) -> int:
        """Return how many queries wait for anybody; many are counted less often than asked for."""
        with self._counting:
            until, num = self._open.get(criterion, (0.0, 0))
            start = time.monotonic()
            if start >= until:
                with self._database.reading() as connection:
                    num = count_open(connection, criterion)
                now = time.monotonic()
                self._open[criterion] = (now + AT_MOST_OFTEN * (now - start), num)
            return num
