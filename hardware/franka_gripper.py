"""The Franka Hand: openings become widths, and it is asked again only when it has done the last."""

from typing import Any

SPEED_M_S = 0.05
"""How fast the fingers move [m/s]; the hand's manual gives 0.05 for each."""
WIDEST_M = 0.08
"""How far it opens, where it was not homed yet and does not know [m]."""


class FrankaHand:
    """Speaks to the hand.

    Args:
        hand: A `franky.Gripper`.
    """

    def __init__(self, hand: Any) -> None:
        self._hand = hand
        self._widest_m = WIDEST_M
        self._running: Any = None

    def opening(self) -> float:
        """Return how far it is open."""
        state = self._hand.state
        self._widest_m = state.max_width or WIDEST_M
        return float(state.width) / self._widest_m

    def is_free(self) -> bool:
        """Return whether it has done what it was asked for."""
        if self._running is not None and self._running.wait(0.0):
            self._running = None
        return self._running is None

    def go_to(self, opening: float) -> None:
        """Begin to open or close."""
        self._running = self._hand.move_async(opening * self._widest_m, SPEED_M_S)

    def close(self) -> None:
        """Stop the fingers."""
        if self._running is not None:
            self._hand.stop()
