"""Pictures of the table from above, without OpenGL: polygons drawn large and shrunk.

Shrinking by a whole factor is what smooths the edges; the table is drawn once an episode.

Shapes: N bodies as in `physics`, P points of an outline.
"""

import functools

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from robopref.envs.planar.hands import FINGER_M, THICKNESS_M, Hand
from robopref.envs.planar.physics import ARENA_M, BLOCK_M

SIDE_M = 2 * ARENA_M + 0.1
"""What the shorter side of a picture shows: the table and its rim [m]."""

_FLOOR, _RIM, _TABLE = "#cfc8ba", "#8d8577", "#f6f2e9"
_GOAL, _GOAL_EDGE = "#cfead6", "#5fb783"
_ZONE, _ZONE_STRIPE, _ZONE_EDGE = "#f9d9d3", "#f0b3a8", "#d9614f"
_SHADOW = "#ddd6c7"
_BLOCKS = (("#e8a33d", "#f6c675"), ("#3f83c4", "#7fb2e0"))
_HAND, _HAND_FRONT, _FINGER = "#3b3f58", "#7d83a8", "#565b7d"
_SHADOW_M = np.array([0.018, -0.022])
_CORNER_M = 0.02

Zone = tuple[float, float, float, float]
"""Middle x, y and half sides of the region to keep out of [m]; half sides of 0 are no region."""


def draw(
    hand: Hand, bodies: Float[np.ndarray, "N 6"], zone: Zone, goal_y: float, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture.

    Args:
        hand: Which hand it is.
        bodies: What is to be seen.
        zone: Region to keep out of.
        goal_y: Where the goal begins [m]; it reaches to the far side.
        size: Width and height in pixels.
    """
    times = _oversampling(size)
    canvas = _table(size, zone, goal_y, times).copy()
    pen = _Pen(canvas, min(size) * times / SIDE_M)
    num = hand.num_bodies
    blocks, fingers, palm = bodies[num:, :3], bodies[1:num, :3], bodies[0, :3]
    outlines = [(_SQUARE, row) for row in blocks] + [(_BAR, row) for row in fingers]
    for outline, pose in [*outlines, (_palm(hand.width_m), palm)]:
        pen.fill(_placed(outline, pose) + _SHADOW_M, _SHADOW)
    for pose, (colour, light) in zip(blocks, _BLOCKS, strict=True):
        pen.fill(_placed(_SQUARE, pose), colour)
        pen.fill(_placed(0.55 * _SQUARE, pose), light)
    for pose in fingers:
        pen.fill(_placed(_BAR, pose), _FINGER)
    pen.fill(_placed(_palm(hand.width_m), palm), _HAND)
    pen.fill(_placed(_front(hand.width_m), palm), _HAND_FRONT)
    return np.asarray(canvas.reduce(times))


class _Pen:
    """Fills shapes given in metres."""

    def __init__(self, canvas: Image.Image, scale: float) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._scale = scale
        self._middle = np.array(canvas.size) / 2.0

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return where points (P, 2) lie in the picture."""
        turned: np.ndarray = self._middle + points * (self._scale, -self._scale)
        return turned

    def fill(self, points: Float[np.ndarray, "P 2"], colour: str) -> None:
        self._draw.polygon(self.pixels(points).ravel().tolist(), fill=colour)

    def line(self, points: Float[np.ndarray, "P 2"], colour: str, width_m: float) -> None:
        width = max(1, round(width_m * self._scale))
        self._draw.line(self.pixels(points).ravel().tolist(), fill=colour, width=width)

    def box(self, x: tuple[float, float], y: tuple[float, float], colour: str) -> None:
        self.fill(_corners(x, y), colour)


def _corners(x: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
    return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])


def _oversampling(size: tuple[int, int]) -> int:
    """Return how many times as large to draw; small pictures need it most."""
    return 4 if min(size) <= 160 else 3 if min(size) <= 400 else 2


@functools.lru_cache(maxsize=16)
def _table(size: tuple[int, int], zone: Zone, goal_y: float, times: int) -> Image.Image:
    canvas = Image.new("RGB", (size[0] * times, size[1] * times), _FLOOR)
    pen = _Pen(canvas, min(size) * times / SIDE_M)
    side, rim = ARENA_M, SIDE_M / 2
    pen.box((-rim, rim), (-rim, rim), _RIM)
    pen.box((-side, side), (-side, side), _TABLE)
    pen.box((-side, side), (goal_y, side), _GOAL)
    pen.line(np.array([(-side, goal_y), (side, goal_y)]), _GOAL_EDGE, 0.02)
    if zone[2] > 0:
        _draw_zone(pen, zone)
    return canvas


def _draw_zone(pen: _Pen, zone: Zone) -> None:
    x, y, half_x, half_y = zone
    pen.box((x - half_x, x + half_x), (y - half_y, y + half_y), _ZONE)
    for start in np.arange(-half_x - half_y, half_x + half_y, 0.12):
        # The stripe u = start + half_y + v at 45 degrees, cut at the region's sides.
        low = max(-half_y, -half_x - start - half_y)
        high = min(half_y, half_x - start - half_y)
        if low < high:
            ends = [(x + start + half_y + v, y + v) for v in (low, high)]
            pen.line(np.array(ends), _ZONE_STRIPE, 0.03)
    outline = _corners((x - half_x, x + half_x), (y - half_y, y + half_y))
    pen.line(np.concatenate([outline, outline[:1]]), _ZONE_EDGE, 0.02)


def _placed(outline: Float[np.ndarray, "P 2"], pose: Float[np.ndarray, "3"]) -> np.ndarray:
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    placed: np.ndarray = outline @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    return placed


def _rounded(length: float, width: float) -> np.ndarray:
    """Return the outline (P, 2) of a box with round corners."""
    angles = np.linspace(0.0, np.pi / 2, 4)
    parts = []
    for turn, (along, across) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        middle = (along * (length / 2 - _CORNER_M), across * (width / 2 - _CORNER_M))
        arc = angles + turn * np.pi / 2
        parts.append(np.stack([np.cos(arc), np.sin(arc)], axis=1) * _CORNER_M + middle)
    return np.concatenate(parts)


@functools.cache
def _palm(width_m: float) -> np.ndarray:
    return _rounded(THICKNESS_M, width_m)


@functools.cache
def _front(width_m: float) -> np.ndarray:
    """Return a stripe along the side that pushes."""
    half = width_m / 2 - _CORNER_M
    return _corners((0.012, 0.03), (-half, half))


_SQUARE = _rounded(BLOCK_M, BLOCK_M)
_BAR = _rounded(*FINGER_M)
