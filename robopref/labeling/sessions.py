"""Who is signed in: cookies whose hashes are in the database, so that any server knows them."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from robopref.data.reader import Recent
from robopref.preferences import tables
from robopref.preferences.database import Database
from robopref.preferences.names import check_name_text

KNOWN_S = 5.0
"""How long a cookie that was found is taken for good without a look [s]; whoever is signed out by
another server may go on so long."""
_NUM_KNOWN = 10_000
WRONG_S = 1.0
"""How long after a wrong token the next one is looked at [s]; a person hardly notices."""
LONGEST_WAIT_S = 10.0
"""How long a token waits to be looked at [s]; what would wait longer is refused."""
LIFE_S = 30 * 24 * 3600.0
"""How long somebody stays signed in [s]."""

sessions = tables.label_sessions


class Throttle:
    """Lets tokens of one address be tried one after the other, once one was wrong.

    Args:
        clock: Gives the time [s].
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free_s: Recent[float] = Recent(_NUM_KNOWN)

    def wait_s(self, address: str) -> float | None:
        """Return how long a try has to wait for its turn [s]; None if too many wait already."""
        with self._lock:
            now = self._clock()
            turn = self._free_s.get(address, 0.0)
            if turn - now > LONGEST_WAIT_S:
                return None
            if turn > now:  # It may be wrong too: the next one comes after it.
                self._free_s.put(address, turn + WRONG_S)
            return max(0.0, turn - now)

    def wrong(self, address: str) -> None:
        """Note that an address gave a wrong token."""
        with self._lock:
            turn = max(self._clock() + WRONG_S, self._free_s.get(address, 0.0))
            self._free_s.put(address, turn)


class Sessions:
    """Signs annotators in and out.

    Args:
        database: Of the preference store.
        token: What they must give to sign in; None lets in who reaches the server.
        clock: Gives the time [s since 1970, UTC].
    """

    def __init__(
        self, database: Database, token: str | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.database = database
        self.needs_token = token is not None
        self.throttle = Throttle()
        self._token = token
        self._clock = clock
        self._known: Recent[tuple[str, float]] = Recent(_NUM_KNOWN)

    def admits(self, token: str | None) -> bool:
        """Return whether a token is the right one, or none is needed."""
        if self._token is None:
            return True
        return hmac.compare_digest((token or "").encode(), self._token.encode())

    def open(self, annotator: str) -> str:
        """Sign an annotator in; return what their cookie holds.

        Raises:
            ValueError: The name is empty, too long, or not printable.
        """
        check_name_text("annotator", annotator)
        key, now = secrets.token_urlsafe(32), self._clock()
        row = {"key_hash": _hash(key), "annotator": annotator, "expires_s": now + LIFE_S}
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_s <= now))
            connection.execute(sessions.insert(), row)
        return key

    def known(self, key: str | None) -> str | None:
        """Return the annotator whose cookie it is if that was found just now; asks no database."""
        name, found_s = self._known.get(key, ("", -KNOWN_S))
        return name if time.monotonic() - found_s < KNOWN_S else None

    def find(self, key: str | None) -> str | None:
        """Return the annotator whose cookie it is, or None."""
        if not key:
            return None
        where = (sessions.c.key_hash == _hash(key), sessions.c.expires_s > self._clock())
        with self.database.reading() as connection:
            name = connection.scalar(sa.select(sessions.c.annotator).where(*where))
        if name is None:
            return None
        self._known.put(key, (str(name), time.monotonic()))
        return str(name)

    def close(self, key: str) -> None:
        """Sign out who has this cookie."""
        self._known.pop(key, None)
        with self.database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.key_hash == _hash(key)))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
