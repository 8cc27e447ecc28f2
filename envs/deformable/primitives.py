"""Action primitives as paths of tools: where each tool is at every moment, and whether it holds.

A primitive is two points. What becomes of them is decided here and nowhere else, so that a
simulated table and an arm do the same.

Shapes: A tools, W way points, S moments.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from robopref.errors import RoboprefError, check_above

LIFT_M = (0.02, 0.2)
"""Least and greatest height of a carrying arc [m]; between them it is the distance carried.

A rope that is lifted higher than it is carried pulls in what lies beside."""
SPEED_M_S = 0.5
"""Greatest speed of a tool [m/s]."""
REST_S = 0.05
"""How long a tool waits where it takes hold and lets go [s]."""
REACH_M = 0.4
"""Points of a primitive lie on the table between minus this and this along x and y [m]."""
HIGHEST_M = 0.1
"""And up to this above it [m]."""
LEAST_APART_M = 0.01
"""Seen from above, the two points are at least so far apart [m]."""
SWEEP_BACK_M = 0.04
"""How far behind its first point a sweep touches down [m]."""
SWEEP_SPEED_M_S = 0.3
"""Greatest speed of a sweeping plate: what is pushed faster slides on by itself [m/s]."""
SWEEP_LIFT_M = 0.08
"""Height from which the plate comes down and to which it goes up again [m]."""


class InfeasiblePrimitiveError(RoboprefError, ValueError):
    """Raised when two points make no primitive that a tool could perform."""


def checked_points(points_m: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Return the two points of a primitive, after checking that they make one.

    Raises:
        InfeasiblePrimitiveError: A point is outside of the workspace, or the two are the same.
    """
    # What was float32 may lie a hair beyond.
    points_m = np.where(np.abs(points_m) > REACH_M, points_m.round(6), points_m)
    if (
        np.abs(points_m[:, :2]).max() > REACH_M
        or not ((points_m[:, 2] >= 0) & (points_m[:, 2] <= HIGHEST_M)).all()
    ):
        raise InfeasiblePrimitiveError(
            f"The points of a primitive must lie within {REACH_M} m of the middle along x and y, "
            f"and 0 to {HIGHEST_M} m above the table, got {points_m.round(3).tolist()}."
        )
    apart = float(np.linalg.norm(np.diff(points_m[:, :2], axis=0)))
    if apart < LEAST_APART_M:
        raise InfeasiblePrimitiveError(
            f"The points of a primitive must be at least {LEAST_APART_M} m apart seen from above, "
            f"got {apart:.3f} m."
        )
    return points_m


@dataclass(frozen=True, eq=False)
class ToolPath:
    """Way points that tools pass at given times, slowing down to rest at each.

    Args:
        times_s: When each is passed, from 0 on, increasing.
        places_m: Where each tool is then, in the table's frame.
        holds: Whether each tool holds on the way to the next.
    """

    times_s: Float[np.ndarray, " W"]
    places_m: Float[np.ndarray, "W A 3"]
    holds: Bool[np.ndarray, "W A"]

    def at(self, times_s: Float[np.ndarray, " S"]) -> Float[np.ndarray, "S A 3"]:
        """Return where the tools are at some moments."""
        after = np.searchsorted(self.times_s, times_s, side="right").clip(1, len(self.times_s) - 1)
        start, end = self.times_s[after - 1], self.times_s[after]
        share = ((times_s - start) / (end - start)).clip(0, 1)
        eased = (share**2 * (3 - 2 * share))[:, None, None]
        places: np.ndarray = self.places_m[after - 1] * (1 - eased) + self.places_m[after] * eased
        return places

    def holding(self, times_s: Float[np.ndarray, " S"]) -> Bool[np.ndarray, "S A"]:
        """Return which tools hold at some moments."""
        before = np.searchsorted(self.times_s, times_s, side="right") - 1
        held: np.ndarray = self.holds[before.clip(0)]
        return held


def make_path(
    places_m: Float[np.ndarray, "W A 3"],
    holds: Bool[np.ndarray, "W A"],
    *,
    speed_m_s: float = SPEED_M_S,
    rest_s: float = REST_S,
) -> ToolPath:
    """Return the path along way points on which no tool is faster than `speed_m_s`.

    Args:
        places_m: Way points; where one is given twice, the tools wait.
        holds: Whether each tool holds on the way to the next.
        speed_m_s: Greatest speed on the way [m/s].
        rest_s: Least time between two way points [s].
    """
    check_above("speed_m_s", speed_m_s, 0)
    steps = np.linalg.norm(np.diff(places_m, axis=0), axis=-1).max(axis=1)
    # Slowing down to rest at both ends, the greatest speed is half as much again as the mean.
    seconds = np.maximum(1.5 * steps / speed_m_s, rest_s)
    return ToolPath(np.concatenate([[0.0], np.cumsum(seconds)]), places_m, holds)


def pick_and_place(points_m: Float[np.ndarray, "2 3"]) -> ToolPath:
    """Return a path that takes hold at the first point and carries to the second in an arc.

    The arc is as high as the points are apart.

    Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, its primitive for rope.
    """
    pick, place = points_m
    apart = float(np.linalg.norm((place - pick)[:2]))
    up = np.array([0.0, 0.0, float(np.clip(apart, *LIFT_M))])
    ways = [pick, pick, pick + up, place + up, place, place]
    holds = np.array([True, True, True, True, True, False])
    return make_path(np.stack(ways)[:, None], holds[:, None])


def sweep(points_m: Float[np.ndarray, "2 3"]) -> ToolPath:
    """Return a path on which a plate comes down behind the first point and sweeps to the second.

    The plate stands across the way: `sweep_yaw` says how it is turned.

    Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, its primitive for granules.
    """
    start, end = (np.append(point[:2], 0.0) for point in points_m)
    back = start - SWEEP_BACK_M * (end - start) / np.linalg.norm(end - start)
    up = np.array([0.0, 0.0, SWEEP_LIFT_M])
    ways = np.stack([back + up, back, end, end + up])
    return make_path(ways[:, None], np.zeros((4, 1), bool), speed_m_s=SWEEP_SPEED_M_S)


def sweep_yaw(points_m: Float[np.ndarray, "2 3"]) -> float:
    """Return how a sweep's plate is turned about the vertical: its normal is the way [rad]."""
    along = points_m[1, :2] - points_m[0, :2]
    return float(np.arctan2(along[1], along[0]))


PRIMITIVES: dict[str, Callable[[Float[np.ndarray, "2 3"]], ToolPath]] = {
    "pick-and-place": pick_and_place,
    "sweep": sweep,
}
"""What a primitive's two points become, by its name."""
