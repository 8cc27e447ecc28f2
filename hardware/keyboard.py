"""The keys of a terminal as a device to steer by.

A terminal tells of a key when it goes down, and again and again while it is held, and never when it
is let go. So a key counts for a moment, and holding it makes one motion.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from robopref.hardware.teleop import Word

HELD_S = 0.6
"""A key counts for so long; terminals repeat one that is held after half a second at most [s]."""
WAYS = {
    "right": (0, 1.0), "left": (0, -1.0), "up": (1, 1.0), "down": (1, -1.0),
    "u": (2, 1.0), "j": (2, -1.0),
}  # fmt: skip
"""Along which axis of the arm's base a key moves the tool, and which way."""
GRIPS = {"o": -1.0, "c": 1.0}
"""What a key asks of the gripper: to open or to close."""


@dataclass(frozen=True)
class KeyboardConfig:
    """The keys of the terminal, or of the operator's page."""

    def build(self) -> "Keyboard":
        """Return the device."""
        return Keyboard()


class Keyboard:
    """Remembers which keys are held."""

    has_deadman = False
    is_held = True
    trouble = ""
    shown = "←→ along x · ↑↓ along y · u j up and down · o c open and close"

    def __init__(self) -> None:
        self._pressed: dict[str, float] = {}
        self._grip = 0.0

    def connect(self) -> None:
        """Do nothing: whoever reads the keys passes them to `press`."""

    def disconnect(self) -> None:
        """Do nothing."""

    def press(self, key: str) -> bool:
        """Take a key; return whether it means anything here."""
        if key in GRIPS:
            self._grip = GRIPS[key]
        elif key in WAYS:
            axis, way = WAYS[key]
            # The other way at once, not when the first one has faded.
            other = next(k for k, (a, w) in WAYS.items() if (a, w) == (axis, -way))
            self._pressed.pop(other, None)
            self._pressed[key] = time.monotonic()
        return key in GRIPS or key in WAYS

    def begin(self, grip: float, reach_m: float) -> None:
        """Forget all keys; the gripper stays as it is, given as the action that made it so."""
        del reach_m
        self._pressed.clear()
        self._grip = grip

    def action(self) -> Float32[np.ndarray, " 4"]:
        """Return the action that the held keys ask for."""
        action = np.zeros(4, np.float32)
        now = time.monotonic()
        for key, pressed_s in self._pressed.items():
            axis, way = WAYS[key]
            if now - pressed_s < HELD_S:
                action[axis] = way
        action[3] = self._grip
        return action

    def words(self) -> Sequence[Word]:
        """Return nothing: whoever reads the keys knows which are words."""
        return ()
