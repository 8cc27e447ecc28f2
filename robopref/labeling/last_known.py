"""Figures that take long to measure: whoever looks gets the last ones, new ones come meanwhile."""

import threading
import time
from collections.abc import Callable
from typing import Any

AT_MOST_OFTEN = 20.0
"""Time between two measurements, in times of what one takes; at least `FRESH_S`."""
FRESH_S = 2.0
PATIENCE_S = 10.0
"""How long the end waits for a measurement that is under way [s]."""

Plain = dict[str, Any]


class LastKnown:
    """Measures in a thread of its own when somebody looks, not too often, and lets nobody wait.

    Requests share few threads: were they to wait for a measurement, a page that many people leave
    open would keep everybody else from theirs.

    Args:
        measure: Returns the figures.
    """

    def __init__(self, measure: Callable[[], Plain]) -> None:
        self._measure = measure
        self._lock = threading.Lock()
        self._known: Plain | None = None
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._next_s = 0.0

    def look(self) -> tuple[Plain | None, bool]:
        """Return the last figures, None before there are any, and whether new ones are measured.

        Raises:
            Exception: What kept the last measurement from its end; the next look tries again.
        """
        with self._lock:
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            if self._thread is None and time.monotonic() >= self._next_s:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
            return self._known, self._thread is not None

    def outdate(self) -> None:
        """Have the next look measure, however short ago the last one was."""
        with self._lock:
            self._next_s = 0.0

    def close(self) -> None:
        """Wait for a measurement that is under way, though not for long."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE_S)

    def _work(self) -> None:
        start = time.monotonic()
        found: Plain | None = None
        fault: BaseException | None = None
        try:
            found = self._measure()
        except BaseException as error:  # raised again to who looks next
            fault = error
        spent = time.monotonic() - start
        with self._lock:
            self._fault, self._thread = fault, None
            if fault is None:
                self._known = found
                self._next_s = time.monotonic() + max(FRESH_S, AT_MOST_OFTEN * spent)
