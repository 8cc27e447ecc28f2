"""Positions as they come in, and the velocity that they tell of where an arm reports none.

Shapes: J joints.
"""

import threading
from collections import deque
from collections.abc import Sequence

from robopref.hardware.types import Joints

NUM_POSITIONS = 5
"""Velocity is the mean over so many positions: one interval alone is mostly jitter."""


class Track:
    """The last positions of an arm; may be written and read by two threads.

    Example:
        >>> track = Track()
        >>> track.add(1.0, [0.0, 2.0])
        >>> track.add(1.5, [1.0, 2.0])
        >>> track.newest()
        (1.5, (1.0, 2.0), (2.0, 0.0))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: deque[tuple[float, Joints]] = deque(maxlen=NUM_POSITIONS)

    def add(self, time_s: float, position: Sequence[float]) -> None:
        """Keep a position, and when it was [s, monotonic clock]."""
        with self._lock:
            self._positions.append((time_s, tuple(map(float, position))))

    def newest(self) -> tuple[float, Joints, Joints] | None:
        """Return time, position and velocity of the newest; None before the first."""
        with self._lock:
            if not self._positions:
                return None
            (then_s, before), (time_s, position) = self._positions[0], self._positions[-1]
        passed = max(time_s - then_s, 1e-3)
        velocity = tuple((b - a) / passed for a, b in zip(before, position, strict=True))
        return time_s, position, velocity

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._positions.clear()
