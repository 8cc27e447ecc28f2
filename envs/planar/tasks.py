"""The planar tasks: what is on the table, where an episode starts, and what an observation holds.

Shapes: N bodies as in `physics`, S observations, Do observation size.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from robopref.envs.planar.hands import HANDS, Hand, finger_y
from robopref.envs.planar.physics import ARENA_M, BLOCK_M, resting

GOAL_Y_M = 0.7
"""The goal is the strip of the table beyond this [m]."""
NUM_BLOCKS = 2
ZONE_HALF_M = (0.25, 0.17)
"""Half sides of the region to keep out of, along x and y [m]."""
ZONE_Y_M = 0.25
"""Where its middle is along y [m]."""

HAND = slice(0, 2)
"""Where a state holds the position of the hand."""
HEADING = slice(2, 4)
"""Where it holds the cosine and sine of the hand's direction."""
OPENING = 4
"""Where it holds how far the fingers are open, 0 to 1; 1 for a stick."""
WIDTH = 5
"""Where it holds the width of the hand [m]."""
BLOCKS = (slice(6, 8), slice(10, 12))
"""Where it holds the positions of the blocks."""
ZONE = slice(14, 18)
"""Where it holds the region to keep out of: its middle and half sides; "avoid" only."""

TASKS = {
    f"{kind}-{hand}-v0": words
    for kind, words in (
        ("avoid", "Push both blocks into the goal on the far side; there is a marked region."),
        ("group", "Push both blocks into the goal on the far side."),
    )
    for hand in HANDS
}
"""What is to be done, by name. What is preferred, to keep out of the region or to push the blocks
together, is no part of it."""


@dataclass(frozen=True)
class Task:
    """One task with one hand.

    Args:
        kind: "avoid" or "group".
        hand: Which hand pushes.
    """

    kind: str
    hand: Hand

    @property
    def state_size(self) -> int:
        """Do, the size of a state observation."""
        return 18 if self.kind == "avoid" else 14

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return bodies (N, 6) to start with, and the region to keep out of, (4,).

        The blocks are left and right of the middle, in front of the hand, which points at them.
        """
        hand = resting(self.hand, float(rng.uniform(-0.3, 0.3)), -0.97)
        blocks = np.zeros((NUM_BLOCKS, 6))
        blocks[:, 0] = (-rng.uniform(0.25, 0.55), rng.uniform(0.25, 0.55))
        blocks[:, 1] = -0.5 + rng.uniform(-0.05, 0.05, NUM_BLOCKS)
        blocks[:, 2] = rng.uniform(-0.4, 0.4, NUM_BLOCKS)
        zone = np.zeros(4)
        if self.kind == "avoid":
            zone[:] = (rng.uniform(-0.15, 0.15), ZONE_Y_M, *ZONE_HALF_M)
        return np.concatenate([hand, blocks]), zone

    def observe(
        self, bodies: Float[np.ndarray, "N 6"], zone: Float[np.ndarray, "4"]
    ) -> Float[np.ndarray, " Do"]:
        """Return the state observation."""
        blocks = bodies[self.hand.num_bodies :]
        x, y, angle = bodies[0, :3]
        parts: list[Any] = [(x, y), _direction(angle), (self._opening(bodies), self.hand.width_m)]
        for block in blocks:
            # A square looks the same after a quarter turn.
            parts += [block[:2], _direction(4.0 * block[2])]
        if self.kind == "avoid":
            parts.append(zone)
        state: np.ndarray = np.concatenate(parts).astype(np.float32)
        return state

    def _opening(self, bodies: np.ndarray) -> float:
        if not self.hand.has_fingers:
            return 1.0
        apart = float(np.linalg.norm(bodies[1, :2] - bodies[2, :2])) / 2
        narrow, wide = finger_y(0.0), finger_y(1.0)
        return float(np.clip((apart - narrow) / (wide - narrow), 0.0, 1.0))


def parse(name: str) -> Task:
    """Return the task called `name`, one of `TASKS`.

    Example:
        >>> parse("avoid-short-v0").hand.width_m
        0.28
    """
    kind, hand, _ = name.split("-")
    return Task(kind, HANDS[hand])


def block_places(state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, "S 2 2"]:
    """Return where the blocks are [m]."""
    places: np.ndarray = np.stack([state[:, part] for part in BLOCKS], axis=1).astype(np.float64)
    return places


def goal_distance(state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, "S 2"]:
    """Return how far the middle of each block is from the goal [m]; 0 inside."""
    distance: np.ndarray = np.maximum(GOAL_Y_M - block_places(state)[:, :, 1], 0.0)
    return distance


def is_solved(state: Float[np.ndarray, "S Do"]) -> Bool[np.ndarray, " S"]:
    """Return whether the middle of every block is in the goal."""
    solved: np.ndarray = (goal_distance(state) <= 0.0).all(axis=1)
    return solved


def state_bounds(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and greatest values of a state observation, each (Do,)."""
    far = ARENA_M + BLOCK_M  # A block that is squeezed may stand over the edge a little.
    place, unit = [far, far], [1.01, 1.01]
    high = [*place, *unit, 1.0, 1.0, *place, *unit, *place, *unit, *place, 1.0, 1.0]
    low = [-value for value in high]
    low[OPENING] = low[WIDTH] = low[16] = low[17] = 0.0
    size = task.state_size
    return np.array(low[:size], np.float32), np.array(high[:size], np.float32)


def _direction(angle: float) -> tuple[float, float]:
    return float(np.cos(angle)), float(np.sin(angle))
