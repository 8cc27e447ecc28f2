"""How far an arm is beyond its workspace, and too near to itself, along a way.

Shapes: J joints, N configurations, P points on the arm, C constraints: those of the workspace, then
the arm itself.
"""

import numpy as np
from jaxtyping import Float

from robopref.hardware.kinematics import Kinematics
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.self_distance import SelfDistance
from robopref.hardware.workspace import Workspace

SURE_M = 1e-9
"""Differences of distances to simple shapes are exact to less than this [m]."""


class Clearance:
    """Says how far an arm is where it must not be.

    Args:
        config: The limits.
        kinematics: Where its links are.
    """

    def __init__(self, config: SafetyConfig, kinematics: Kinematics) -> None:
        self._kinematics = kinematics
        space = config.workspace if config.has("workspace") else None
        self._space = None if space is None else _Space(space)
        has_self = config.has("self-collision")
        self.itself = SelfDistance(kinematics, config.self_distance_m) if has_self else None

    def is_clear(
        self, positions: Float[np.ndarray, "N J"], points_m: Float[np.ndarray, "N P 3"]
    ) -> bool:
        """Return whether `lacks_m` is 0 without measuring; where it is not known, no."""
        is_inside = self._space is None or self._space.is_clear(points_m)
        return is_inside and (self.itself is None or self.itself.is_clear(positions))

    def lacks_m(
        self, positions: Float[np.ndarray, "N J"], points_m: Float[np.ndarray, "N P 3"]
    ) -> Float[np.ndarray, "N C"]:
        """Return how far the arm is outside each constraint; 0 where it is inside."""
        found = np.zeros((len(positions), self.num_in_space + (self.itself is not None)))
        if self._space is not None:
            found[:, : self.num_in_space] = self._space.lacks_m(points_m)
        if self.itself is not None:
            found[:, -1] = self.itself.lacks_m(positions)
        return found

    def lacks_at(self, positions: Float[np.ndarray, "N J"]) -> Float[np.ndarray, "N C"]:
        """Return the same from the joints alone."""
        return self.lacks_m(positions, self._kinematics.place(positions).points_m)

    def lacks_in_space(self, positions: Float[np.ndarray, "N J"]) -> Float[np.ndarray, "N C"]:
        """Return the part of the workspace; its constraints only."""
        if self._space is None:
            return np.zeros((len(positions), 0))
        return self._space.lacks_m(self._kinematics.place(positions).points_m)

    @property
    def num_in_space(self) -> int:
        """How many constraints are the workspace's: the first ones."""
        return 0 if self._space is None else self._space.workspace.num_constraints


class _Space:
    """A workspace that is measured only where a point may have come to its bounds.

    A margin changes by no more than the point moves; while none has moved as far as the least
    margin was, all are still inside, as measuring would say too.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._points: np.ndarray | None = None
        self._margin = 0.0

    def is_clear(self, points_m: Float[np.ndarray, "N P 3"]) -> bool:
        """Return whether all points are surely inside."""
        if self._points is None or self._margin <= SURE_M:
            return False
        moved = points_m - self._points
        squares = np.einsum("npd,npd->np", moved, moved)
        return bool(np.maximum.reduce(squares, axis=None) < (self._margin - SURE_M) ** 2)

    def lacks_m(self, points_m: Float[np.ndarray, "N P 3"]) -> Float[np.ndarray, "N C"]:
        """Return how far any point is outside each constraint; 0 where all are inside."""
        if self.is_clear(points_m):
            return np.zeros((len(points_m), self.workspace.num_constraints))
        margins = self.workspace.margins_m(points_m)
        middle = len(points_m) // 2
        self._points, self._margin = points_m[middle], float(margins[middle].min())
        return np.maximum(-margins, 0.0)
