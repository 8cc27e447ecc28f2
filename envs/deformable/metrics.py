"""How alike two shapes on a table are, wherever they lie and however they are turned.

Shapes are clouds of points seen from above. Each is centred, and the best of 20 rotations counts,
as in DeformPAM's evaluation [1]; but here every trial counts, not the successful ones alone.

Shapes: N points, M points of the goal, R rotations, G cells along a side of a grid; V vertices, E
edges, F triangles of a mesh.

References:
    [1] Chen et al., DeformPAM, 2024, arXiv:2410.11584, and its public code for the metrics.
    [2] Lin et al., SoftGym, 2020, arXiv:2011.07215, section 4.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

ROTATIONS_DEG = tuple(
    quarter + tilt for quarter in (0, 90, 180, 270) for tilt in (-20, -10, 0, 10, 20)
)
"""Rotations that are tried [degrees]."""
NUM_CELLS = 100
"""Cells along a side of the grids that areas are measured on."""
DISC_CELLS = 2
"""Radius of the disc that a point is drawn as, in cells."""


def intersection_over_union(
    points: Float[np.ndarray, "N _"],
    goal: Float[np.ndarray, "M _"],
    *,
    rotations_deg: Sequence[float] = ROTATIONS_DEG,
) -> float:
    """Return the share of the area of either that is the area of both, 0 to 1."""
    points, goal = _centred(points), _centred(goal)
    extent = 1.2 * max(np.linalg.norm(points, axis=1).max(), np.linalg.norm(goal, axis=1).max())
    wanted = _raster(goal, extent)

    def overlap(turned: np.ndarray) -> float:
        there = _raster(turned, extent)
        return float((there & wanted).sum() / (there | wanted).sum())

    return _best(points, overlap, rotations_deg, np.max)


def chamfer_distance(
    points: Float[np.ndarray, "N _"],
    goal: Float[np.ndarray, "M _"],
    *,
    rotations_deg: Sequence[float] = ROTATIONS_DEG,
) -> float:
    """Return the mean distance of each point to the other shape, the sum of both ways [m]."""
    points, goal = _centred(points), _centred(goal)
    tree = cKDTree(goal)

    def distance(turned: np.ndarray) -> float:
        there, _ = tree.query(turned)
        back, _ = cKDTree(turned).query(goal)
        return float(there.mean() + back.mean())

    return _best(points, distance, rotations_deg, np.min)


def earth_movers_distance(
    points: Float[np.ndarray, "N _"],
    goal: Float[np.ndarray, "M _"],
    *,
    rotations_deg: Sequence[float] = ROTATIONS_DEG,
) -> float:
    """Return the mean distance that points move to take the goal's places, one each [m].

    Of the larger set, points spread evenly over its order are taken.
    """
    num = min(len(points), len(goal))
    points, goal = (
        _centred(some[np.linspace(0, len(some) - 1, num).round().astype(int)])
        for some in (points, goal)
    )

    def distance(turned: np.ndarray) -> float:
        cost = cdist(turned, goal)
        return float(cost[linear_sum_assignment(cost)].mean())

    return _best(points, distance, rotations_deg, np.min)


def coverage(points: Float[np.ndarray, "N _"], flat: Float[np.ndarray, "M _"]) -> float:
    """Return the area that a cloth covers, relative to what it covers when it lies flat.

    Areas are those of cells with a point in them, of a grid over the flat cloth that is coarse
    enough for the flat cloth to leave no holes.
    """
    points, flat = _centred(points), _centred(flat)
    spacing = np.median(cKDTree(flat).query(flat, k=min(5, len(flat)))[0][:, -1])
    cell = max(1.5 * float(spacing), 2 * float(np.abs(flat).max()) / NUM_CELLS)
    area = [len(np.unique(np.floor(some / cell).astype(int), axis=0)) for some in (points, flat)]
    return area[0] / area[1]


def num_crossings(
    vertices: Float[np.ndarray, "V 3"],
    edges: Int[np.ndarray, "E 2"],
    triangles: Int[np.ndarray, "F 3"],
) -> int:
    """Return how often an edge of a mesh passes through a triangle of which it has no corner.

    Source: Moeller and Trumbore, Fast, minimum storage ray/triangle intersection, 1997.
    """
    start, along = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    corner, one, other = (vertices[triangles[:, i]] for i in range(3))
    one, other = one - corner, other - corner
    across = np.cross(along[:, None], other)
    scale = (across * one).sum(axis=-1)
    scale = np.where(scale == 0, np.inf, scale)  # An edge in the plane passes through nowhere.
    away = start[:, None] - corner
    turned = np.cross(away, one)
    u = (away * across).sum(axis=-1) / scale
    v = (along[:, None] * turned).sum(axis=-1) / scale
    share = (turned * other).sum(axis=-1) / scale
    passes = (u > 0) & (v > 0) & (u + v < 1) & (share > 0) & (share < 1)
    apart = ~(edges[:, None, :, None] == triangles[None, :, None]).any(axis=(2, 3))
    return int((passes & apart).sum())


def normalized_performance(now: float, at_first: float, best: float) -> float:
    """Return how much of the way from the start to the best is done, at most 1 [2].

    Raises:
        ValueError: The start is as good as the best.

    Example:
        >>> normalized_performance(0.5, at_first=0.2, best=0.8)
        0.5
    """
    if at_first == best:
        raise ValueError(f"The start must be worse than the best, got {at_first} for both.")
    return round((now - at_first) / (best - at_first), 12) + 0.0  # Never -0.0.


def _centred(points: np.ndarray) -> np.ndarray:
    flat: np.ndarray = points[:, :2].astype(np.float64)
    if not len(flat) or not np.isfinite(flat).all():
        raise ValueError(
            f"A shape is made of one or more points that are finite, got {len(flat)} points."
        )
    centred: np.ndarray = flat - flat.mean(axis=0)
    return centred


def _best(
    points: np.ndarray,
    measure: Callable[[np.ndarray], float],
    rotations_deg: Sequence[float],
    choose: Callable[[list[float]], np.floating],
) -> float:
    angles = np.radians(rotations_deg)
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    return float(choose([measure(points @ turn.T) for turn in turns]))


def _raster(points: np.ndarray, extent: float) -> Bool[np.ndarray, "G G"]:
    """Return which cells of a square of half side `extent` the points' discs touch."""
    cells = ((points / extent + 1) / 2 * NUM_CELLS).astype(int)
    grid = np.zeros((NUM_CELLS, NUM_CELLS), bool)
    inside = ((cells >= 0) & (cells < NUM_CELLS)).all(axis=1)
    grid[cells[inside, 0], cells[inside, 1]] = True
    x, y = np.ogrid[-DISC_CELLS : DISC_CELLS + 1, -DISC_CELLS : DISC_CELLS + 1]
    dilated: np.ndarray = binary_dilation(grid, x**2 + y**2 <= DISC_CELLS**2)
    return dilated
