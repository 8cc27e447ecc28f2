"""The four hands: sticks of three widths, and a gripper.

In a hand's own frame x points forward, where it pushes, and y to its left; lengths in metres.
"""

from dataclasses import dataclass

THICKNESS_M = 0.08
"""Of a stick, and of the gripper's palm, along the way it pushes."""
FINGER_M = (0.16, 0.05)
"""Length and thickness of a finger."""
NARROWEST_M, WIDEST_M = 0.1, 0.44
"""Distance between the insides of the fingers when closed and when open."""


@dataclass(frozen=True)
class Hand:
    """What pushes the blocks.

    Args:
        width_m: From its left to its right end when it is open [m].
        has_fingers: Whether two fingers point forward that can close.
    """

    width_m: float
    has_fingers: bool = False

    @property
    def action_size(self) -> int:
        """Motion along x and y and a turn, and for fingers how far they close."""
        return 4 if self.has_fingers else 3

    @property
    def num_bodies(self) -> int:
        """Palm and fingers."""
        return 3 if self.has_fingers else 1


HANDS = {
    "short": Hand(0.28),
    "medium": Hand(0.46),
    "long": Hand(0.56),
    "gripper": Hand(WIDEST_M + 2 * FINGER_M[1], has_fingers=True),
}
"""By name. X-MAGICAL's sticks are 0.3, 0.6 and 1.6 m wide; the last could not pass beside the
region of the task "avoid" with blocks in front of it."""


def finger_y(opening: float) -> float:
    """Return how far to the left the middle of the left finger is [m].

    Args:
        opening: 0 closed, 1 open.

    Example:
        >>> round(finger_y(1.0), 3), round(finger_y(0.0), 3)
        (0.245, 0.075)
    """
    gap = NARROWEST_M + opening * (WIDEST_M - NARROWEST_M)
    return (gap + FINGER_M[1]) / 2
