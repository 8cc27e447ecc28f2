"""The shapes that deformable things are to be brought into.

Shapes: N points.
"""

import numpy as np
from jaxtyping import Float


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
    """Return points of a closed line of that length that lies as a broad S [m]."""
    angle = np.linspace(0, np.pi, 25)
    radius = 1.0
    upper = np.stack([radius * np.cos(angle + np.pi / 2), radius * np.sin(angle + np.pi / 2)], 1)
    middle = np.concatenate([upper + np.array([0, radius]), -upper - np.array([0, radius])])
    tangent = np.gradient(middle, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    outline = np.concatenate([middle + 0.3 * normal, (middle - 0.3 * normal)[::-1]])
    ring = np.concatenate([outline, outline[:1]])
    scale = length_m / np.linalg.norm(np.diff(ring, axis=0), axis=1).sum()
    outline = scale * outline
    return _along([(float(x), float(y)) for x, y in outline], num)
