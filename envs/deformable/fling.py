"""Primitives for cloth with two tools: fling, and drag where a fling is not feasible.

Shapes: A tools, W way points.
"""

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.primitives import REACH_M, SPEED_M_S, ToolPath, make_path

LIFT_M = 0.45
"""Height at which the cloth hangs, its lower hem at the table [m]."""
BACK_M, FORWARD_M = 0.07, 0.3
"""How far the tools swing back, and forward, of the middle [m]."""
SWING_M_S = 2.0
"""Greatest speed of the swing: slower, the cloth does not fly out before the tools [m/s]."""
LAY_M_S = 1.4
"""Greatest speed while it is laid down: slower, it swings back under the tools before [m/s]."""
TIGHTEN_M, TIGHTEN_M_S = 0.12, 0.3
"""How far, and at most how fast, what is laid is pulled straight."""
LOW_M = 0.012
"""Height at which cloth is laid down or dragged [m]."""


def fling(points_m: Float[np.ndarray, "2 3"], *, width_m: float, length_m: float) -> ToolPath:
    """Return a path that lifts cloth at two points, stretches, swings, lays and tightens it.

    The pair has no order: which point comes first changes nothing but which tool takes it. The
    cloth flies out to the side of the tools' line that has the greater y.

    Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, its primitive for a T-shirt.

    Args:
        points_m: Where the tools take hold.
        width_m: How far apart the tools stretch the cloth [m].
        length_m: How far it hangs down; it is laid back by as much while it flies forward [m].
    """
    across = (points_m[1] - points_m[0])[:2]
    across = np.append(across / np.linalg.norm(across), 0.0)
    forward = np.array([-across[1], across[0], 0.0])
    if (forward[1], forward[0]) < (0.0, 0.0):
        forward = -forward
    half = width_m / 2 * np.stack([-across, across])
    up = np.array([0.0, 0.0, LIFT_M])
    low = np.array([0.0, 0.0, LOW_M])
    laid = half + (FORWARD_M - length_m) * forward + low
    tightened = laid - TIGHTEN_M * forward
    legs = [
        ([points_m, points_m, points_m + up, half + up, half + up], SPEED_M_S),
        ([half + up - BACK_M * forward, half + up + FORWARD_M * forward], SWING_M_S),
        ([laid], LAY_M_S),
        ([tightened, tightened], TIGHTEN_M_S),
    ]
    return _joined(legs)


def drag(points_m: Float[np.ndarray, "2 3"]) -> ToolPath:
    """Return a path on which one tool drags cloth over the table; the other waits above it.

    Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, which falls back to it.
    """
    start, end = points_m[0], np.append(points_m[1, :2], LOW_M)
    away = np.tile(np.array([0.0, 0.0, LIFT_M]), (4, 1))
    ways = np.stack([np.stack([start, start, end, end]), away], axis=1)
    holds = np.array([[True, False]] * 3 + [[False, False]])
    return make_path(ways, holds, speed_m_s=0.6 * SPEED_M_S)


def is_within_reach(path: ToolPath) -> bool:
    """Return whether no tool leaves the table's workspace, seen from above."""
    return bool(np.abs(path.places_m[:, :, :2]).max() <= REACH_M + 1e-9)


def _joined(legs: list[tuple[list[np.ndarray], float]]) -> ToolPath:
    """Return one path along legs that have a greatest speed each; tools hold to the end."""
    times, places = [0.0], [legs[0][0][0]]
    for ways, speed_m_s in legs:
        leg = make_path(
            np.stack([places[-1], *ways]), np.ones((len(ways) + 1, 2), bool), speed_m_s=speed_m_s
        )
        times += (times[-1] + leg.times_s[1:]).tolist()
        places += list(leg.places_m[1:])
    holds = np.ones((len(times), 2), bool)
    holds[-1] = False
    return ToolPath(np.array(times), np.stack(places), holds)
