"""The shapes that deformable things are to be brought into.

Shapes: N points, C corners.
"""

import numpy as np
from jaxtyping import Bool, Float


def _along(corners: list[tuple[float, float]], num: int) -> Float[np.ndarray, "{num} 2"]:
    """Return points spread evenly along a closed line through corners."""
    ring = np.array([*corners, corners[0]], float)
    lengths = np.linalg.norm(np.diff(ring, axis=0), axis=1)
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    places = np.linspace(0, reached[-1], num, endpoint=False)
    along: np.ndarray = np.stack([np.interp(places, reached, ring[:, i]) for i in (0, 1)], axis=1)
    return along


def circle(length_m: float, num: int) -> Float[np.ndarray, "{num} 2"]:
    """Return points of a closed line of that length that lies as a circle [m]."""
    angle = 2 * np.pi * np.arange(num) / num
    points: np.ndarray = length_m / (2 * np.pi) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points


def square(length_m: float, num: int) -> Float[np.ndarray, "{num} 2"]:
    """Return points of a closed line of that length that lies as a square [m]."""
    half = length_m / 8
    return _along([(half, half), (-half, half), (-half, -half), (half, -half)], num)


def s_shape(length_m: float, num: int) -> Float[np.ndarray, "{num} 2"]:
    """Return points of a closed line of that length that lies as a broad S [m].

    Two half circles make its middle line; half as wide to both sides as they are, with round ends,
    it bends nowhere more sharply than the friction of a rope can hold.
    """
    angle = np.linspace(0, np.pi, 25)
    half_circle = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    upper, lower = half_circle + np.array([0, 1]), -half_circle[::-1] - np.array([0, 1])
    normals = np.concatenate([half_circle, half_circle[::-1]])
    middle, width = np.concatenate([upper, lower]), 0.5
    end = width * half_circle
    outline = np.concatenate(
        [
            middle + width * normals,
            end + middle[-1],
            (middle - width * normals)[::-1],
            middle[0] - end,
        ]
    )
    ring = np.concatenate([outline, outline[:1]])
    outline *= length_m / np.linalg.norm(np.diff(ring, axis=0), axis=1).sum()
    return _along([(float(x), float(y)) for x, y in outline], num)


BAR_M = 0.066
"""Width of the bars that T, L and line are made of [m]."""
OUTLINES: dict[str, list[tuple[float, float]]] = {
    "T": [(1, 0), (2, 0), (2, 2), (3, 2), (3, 3), (0, 3), (0, 2), (1, 2)],
    "L": [(0, 0), (3, 0), (3, 1), (1, 1), (1, 3), (0, 3)],
    "line": [(0, 0), (5, 0), (5, 1), (0, 1)],
}
"""Corners of each, counter-clockwise, in bar widths; all have the same area."""


def outline(name: str) -> Float[np.ndarray, "C 2"]:
    """Return the corners of a shape of bars [m], whose area's middle is the origin."""
    corners = BAR_M * np.array(OUTLINES[name], float)
    centred: np.ndarray = corners - _grid(corners).mean(axis=0)
    return centred


def filled(name: str) -> Float[np.ndarray, "N 2"]:
    """Return points spread evenly over a shape of bars [m], whose middle is the origin."""
    return _grid(outline(name))


def is_inside(
    points: Float[np.ndarray, "N 2"], corners: Float[np.ndarray, "C 2"]
) -> Bool[np.ndarray, " N"]:
    """Return which points are inside of a closed line."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def _grid(corners: np.ndarray) -> np.ndarray:
    step = BAR_M / 10
    low, high = corners.min(axis=0), corners.max(axis=0)
    xs, ys = (np.arange(low[i] + step / 2, high[i], step) for i in (0, 1))
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    kept: np.ndarray = points[is_inside(points, corners)]
    return kept
