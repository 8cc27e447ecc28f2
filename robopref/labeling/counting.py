"""How many queries somebody has answered, and how many they have to go."""

import threading
import time

import sqlalchemy as sa

from robopref.data.reader import Recent
from robopref.labeling.answers import Stored
from robopref.labeling.eligible import count_left
from robopref.labeling.queue import ASK
from robopref.preferences import tables
from robopref.preferences.database import Database

REMAINING_S = 5.0
"""How long what others do may leave the number of queries to go as it was [s]."""
MOST_LEFT = 10_000
"""Queries to go that are counted; to count these takes milliseconds."""

annotators = tables.label_annotators.c


class Counting:
    """Counts for annotators; what they do themselves shows at once.

    Args:
        database: Of the preference store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._left: Recent[tuple[float, int]] = Recent(20_000)

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
        with self._lock:
            self._left.pop((annotator, criterion), None)

    def _remaining(self, annotator: str, criterion: str) -> int:
        now, place = time.monotonic(), (annotator, criterion)
        with self._lock:
            until, num = self._left.get(place) or (0.0, 0)
        if now < until:
            return num
        with self._database.reading() as connection:
            num = count_left(connection, annotator, criterion, MOST_LEFT)
        with self._lock:
            self._left.put(place, (now + REMAINING_S, num))
        return num
