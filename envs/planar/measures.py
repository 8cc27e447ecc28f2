"""What is really so on the table: numbers that only scripted teachers and the evaluation may see.

Shapes: S observations, Do observation size, P points of a body. Lengths in metres.
"""

import numpy as np
from jaxtyping import Float

from robopref.envs.planar.hands import FINGER_M, HANDS, THICKNESS_M, finger_y
from robopref.envs.planar.physics import BLOCK_M
from robopref.envs.planar.tasks import (
    BLOCKS,
    HAND,
    HEADING,
    OPENING,
    WIDTH,
    ZONE,
    block_places,
    goal_distance,
)

TOUCHING_M = 1.5 * BLOCK_M
"""Up to this distance of their middles two blocks count as together."""


def intrusion(state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, " S"]:
    """Return how deep the hand or a block reaches into the region to keep out of; 0 outside."""
    row = state.astype(np.float64)
    points = np.concatenate([_hand_points(row), *(_block_points(row, b) for b in BLOCKS)], axis=1)
    zone = row[:, None, ZONE]
    depth = (zone[..., 2:] - np.abs(points - zone[..., :2])).min(axis=2)
    deepest: np.ndarray = depth.max(axis=1).clip(min=0.0)
    return deepest


def apart(state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, " S"]:
    """Return how much farther apart the blocks are than blocks that are together; 0 for those."""
    places = block_places(state)
    distance = np.linalg.norm(places[:, 0] - places[:, 1], axis=1)
    farther: np.ndarray = (distance - TOUCHING_M).clip(min=0.0)
    return farther


def progress(state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, " S"]:
    """Return how much nearer to the goal the blocks are than one observation before, on average.

    The first observation has made none.
    """
    distance = goal_distance(state).mean(axis=1)
    return -np.diff(distance, prepend=distance[:1])


def _hand_points(row: np.ndarray) -> np.ndarray:
    """Return points (S, P, 2) on the hand's outline and its middle."""
    sideways = np.linspace(-0.5, 0.5, 9) * row[:, WIDTH, None]
    fronts = [
        _from_hand(row, np.full_like(sideways, along), sideways)
        for along in (-THICKNESS_M / 2, THICKNESS_M / 2)
    ]
    has_fingers = np.isclose(row[:, WIDTH], HANDS["gripper"].width_m, atol=1e-4)
    inside = np.array([finger_y(float(opening)) for opening in row[:, OPENING]])
    left = np.where(has_fingers, inside, 0.0)[:, None] * [-1.0, 1.0]
    tip = np.where(has_fingers, THICKNESS_M / 2 + FINGER_M[0], 0.0)[:, None].repeat(2, axis=1)
    return np.concatenate([*fronts, _from_hand(row, tip, left)], axis=1)


def _from_hand(row: np.ndarray, along: np.ndarray, left: np.ndarray) -> np.ndarray:
    cos, sin = row[:, HEADING].T[..., None]
    turned = np.stack([along * cos - left * sin, along * sin + left * cos], axis=2)
    points: np.ndarray = row[:, None, HAND] + turned
    return points


def _block_points(row: np.ndarray, block: slice) -> np.ndarray:
    """Return the middle and the corners (S, 5, 2) of a block."""
    cos, sin = row[:, block.stop], row[:, block.stop + 1]
    angle = np.arctan2(sin, cos)[:, None] / 4 + np.pi / 4 + np.arange(4) * np.pi / 2
    corners = BLOCK_M / np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    middle = row[:, None, block]
    return np.concatenate([middle, middle + corners], axis=1)
