"""A gripper beside its arm: its calls wait, so they are made in a thread of its own.

Openings go from 0 (closed) to 1 (open). Only the newest one asked for counts.
"""

import contextlib
import threading
from typing import Protocol, runtime_checkable

STEP = 0.02
"""An opening that differs by less is not worth a motion."""
LOOK_S = 0.05
"""How often it is looked at [s]."""


@runtime_checkable
class Hand(Protocol):
    """A gripper as its maker has it; calls may take their time, and fail."""

    def opening(self) -> float:
        """Return how far it is open."""
        ...

    def is_free(self) -> bool:
        """Return whether it takes another opening now."""
        ...

    def go_to(self, opening: float) -> None:
        """Begin to open or close, without waiting for the end."""
        ...

    def close(self) -> None:
        """Stop the fingers, and let go."""
        ...


class Gripper:
    """Opens and closes a hand without ever making its caller wait.

    Args:
        hand: The gripper.

    Attributes:
        opening: How far it is open; None once it does not answer any more.
    """

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        # Known from the start, so that nobody takes a gripper that holds something for an open one.
        self.opening: float | None = self._seen()
        self._wanted: float | None = None
        self._sent: float | None = None
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_to(self, opening: float) -> None:
        """Ask for an opening between 0 and 1; returns at once."""
        self._wanted = min(1.0, max(0.0, opening))

    def close(self) -> None:
        """Stop the fingers and let go; may be called twice."""
        if self._is_ending.is_set():
            return
        self._is_ending.set()
        self._thread.join(1.0)
        # A hand that cannot be reached any more has nothing left to stop.
        with contextlib.suppress(Exception):
            self._hand.close()

    def _run(self) -> None:
        while not self._is_ending.wait(LOOK_S):
            try:
                self._look()
            except Exception:
                # Without the hand there is no opening, which the state says.
                self.opening = None
                return

    def _look(self) -> None:
        self.opening = self._seen()
        wanted = self._wanted
        if wanted is None or not self._hand.is_free():
            return
        if self._sent is None or abs(wanted - self._sent) > STEP:
            self._sent = wanted
            self._hand.go_to(wanted)

    def _seen(self) -> float:
        return min(1.0, max(0.0, self._hand.opening()))
