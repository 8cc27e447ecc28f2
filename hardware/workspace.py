"""Where an arm's links may be: a box, half-spaces, and places to keep out of.

Shapes: N configurations, P points on the arm, C constraints. Lengths in metres, in the robot's base
frame. A margin is how far a point is inside what is allowed; below 0 it is outside.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """A box along the axes.

    Args:
        low_m: Its lower corner.
        high_m: Its upper corner.

    Raises:
        ValueError: A side has no length.
    """

    low_m: Point
    high_m: Point

    def __post_init__(self) -> None:
        """Check the corners."""
        if not all(low < high for low, high in zip(self.low_m, self.high_m, strict=True)):
            raise ValueError(f"`low_m` {self.low_m} must be below `high_m` {self.high_m}.")


@dataclass(frozen=True)
class Cylinder:
    """An upright cylinder.

    Args:
        centre_m: Middle of its foot.
        radius_m: Its radius.
        height_m: Its height.

    Raises:
        ValueError: A size is not above 0.
    """

    centre_m: Point
    radius_m: float
    height_m: float

    def __post_init__(self) -> None:
        """Check sizes."""
        if not (self.radius_m > 0 and self.height_m > 0):
            raise ValueError(
                f"`radius_m` and `height_m` must be above 0, got {self.radius_m}, {self.height_m}."
            )

    def inside_m(self, points: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "..."]:
        """Return how deep points are in the cylinder, below 0 outside."""
        offset = points - np.array(self.centre_m)
        height = offset[..., 2]
        depth = np.empty((*height.shape, 2))
        depth[..., 0] = self.radius_m - np.hypot(offset[..., 0], offset[..., 1])
        np.minimum(height, self.height_m - height, out=depth[..., 1])
        return _signed(depth)


@dataclass(frozen=True)
class HalfSpace:
    """What lies on one side of a plane.

    Args:
        normal: Points to where it is allowed; any length.
        offset_m: Distance of the plane from the origin along the normal.

    Raises:
        ValueError: The normal has no direction.
    """

    normal: Point
    offset_m: float

    def __post_init__(self) -> None:
        """Check the normal."""
        if not np.linalg.norm(self.normal) > 0:
            raise ValueError("`normal` must not be zero.")


@dataclass(frozen=True)
class Workspace:
    """Where every moving link and the tool have to stay.

    Args:
        stay_in: The box around all of it.
        half_spaces: Planes not to cross, such as a table's top.
        keep_out: Boxes and cylinders not to enter.
        radius_m: Half the thickness of a link, kept away from all of these.
    """

    stay_in: Box
    half_spaces: tuple[HalfSpace, ...] = ()
    keep_out: tuple[Box | Cylinder, ...] = ()
    radius_m: float = 0.05

    @property
    def num_constraints(self) -> int:
        """Return C."""
        return 1 + len(self.half_spaces) + len(self.keep_out)

    def margins_m(self, points_m: Float[np.ndarray, "N P 3"]) -> Float[np.ndarray, "N C"]:
        """Return the smallest margin of any point by configuration and constraint."""
        margins = np.empty((len(points_m), self.num_constraints))
        shapes = 1 + len(self.half_spaces)
        # The control loop asks at every period: all boxes at once, and all planes at once.
        lows, highs, columns = self._boxes
        points = points_m[:, :, None]
        boxes = _signed(np.minimum(points - lows, highs - points))
        boxes[..., 0].min(axis=1, out=margins[:, 0])
        margins[:, columns] = -boxes[..., 1:].max(axis=1)
        if self.half_spaces:
            normals, offsets = self._planes
            (points_m @ normals - offsets).min(axis=1, out=margins[:, 1:shapes])
        for column, shape in enumerate(self.keep_out, shapes):
            if isinstance(shape, Cylinder):
                np.negative(shape.inside_m(points_m).max(axis=1), out=margins[:, column])
        margins -= self.radius_m
        return margins

    @cached_property
    def _boxes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lower and upper corners of all boxes, (B, 3), and the columns of those to keep out of."""
        first = 1 + len(self.half_spaces)
        columns = [first + k for k, each in enumerate(self.keep_out) if isinstance(each, Box)]
        boxes = [self.stay_in, *(each for each in self.keep_out if isinstance(each, Box))]
        lows = np.array([box.low_m for box in boxes])
        return lows, np.array([box.high_m for box in boxes]), np.array(columns, int)

    @cached_property
    def _planes(self) -> tuple[np.ndarray, np.ndarray]:
        """Normals of length one, (3, H), and offsets, (H,)."""
        normals = np.array([plane.normal for plane in self.half_spaces], float)
        unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        return unit.T.copy(), np.array([plane.offset_m for plane in self.half_spaces], float)


def _signed(depth: Float[np.ndarray, "*B D"]) -> Float[np.ndarray, "*B"]:
    """Return how deep in a shape from how deep between each pair of its faces."""
    least: np.ndarray = depth.min(axis=-1)
    if (least >= 0).all():
        return least
    beyond = np.minimum(depth, 0)
    outside = np.sqrt(np.einsum("...d,...d->...", beyond, beyond))
    found: np.ndarray = np.where(least < 0, -outside, least)
    return found
