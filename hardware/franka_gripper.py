"""The Franka Hand beside its arm: its calls wait, so they are made in a thread of its own.

Openings between 0 (closed) and 1 (open) become widths. Only the newest one asked for counts, and
the hand is asked again only when it has done what it was asked before.
"""

import contextlib
import threading
from typing import Any

SPEED_M_S = 0.05
"""How fast the fingers move [m/s]; the hand's manual gives 0.05 for each."""
WIDEST_M = 0.08
"""How far it opens, where it was not homed yet and does not know [m]."""
STEP = 0.02
"""An opening that differs by less is not worth a motion."""
LOOK_S = 0.05
"""How often it is looked at [s]."""


class FrankaGripper:
    """Opens and closes the hand without ever making its caller wait.

    Args:
        hand: A `franky.Gripper`.
    """

    def __init__(self, hand: Any) -> None:
        self._hand = hand
        self.opening: float | None = None
        self._wanted: float | None = None
        self._sent: float | None = None
        self._running: Any = None
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
            if self._running is not None:
                self._hand.stop()

    def _run(self) -> None:
        while not self._is_ending.wait(LOOK_S):
            try:
                self._look()
            except Exception:
                # Without the hand there is no opening, which the state says.
                self.opening = None
                return

    def _look(self) -> None:
        state = self._hand.state
        widest = state.max_width or WIDEST_M
        self.opening = min(1.0, max(0.0, state.width / widest))
        if self._running is not None:
            if not self._running.wait(0.0):
                return
            self._running = None
        wanted = self._wanted
        if wanted is not None and (self._sent is None or abs(wanted - self._sent) > STEP):
            self._sent = wanted
            self._running = self._hand.move_async(wanted * widest, SPEED_M_S)
