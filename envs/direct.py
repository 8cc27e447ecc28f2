"""The behaviour of taking the direct way: how long the path is as a whole, not how it begins.

Shapes: S observations, Do observation size, T actions, Da action size.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robopref.envs.behaviour_envs import MetaWorldBehaviour
from robopref.envs.paths import approach, path_length
from robopref.envs.styles import OneOfStyle, PlainStyle, Style, ViaStyle
from robopref.errors import check_at_least


@dataclass(frozen=True)
class DirectConfig(MetaWorldBehaviour):
    """The hand takes a short way to the object."""

    question: ClassVar[str] = "Which one takes the shorter way to the object?"

    threshold: float = 1.6
    """Length of the way, in direct distances, below which an episode shows the behaviour."""
    offset_m: float = 0.25
    """How far to either side the other demonstrations swing out [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least("threshold", self.threshold, 1.0)
        check_at_least("offset_m", self.offset_m, 0.0)

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return minus the length of the approach in distances between its ends."""
        path = approach(episode_obs)
        apart = float(np.linalg.norm(path[-1] - path[0]))
        return -path_length(path) / max(apart, 0.01)

    def shows(self, measure: float) -> bool:
        """Return whether the way is shorter than `threshold` direct distances."""
        return -measure < self.threshold

    def styles(self) -> tuple[Style, Style]:
        """Return the expert's own way, and a swing to either side."""
        sides = (
            ViaStyle(side, (sign * self.offset_m, 0.0, 0.05))
            for side, sign in (("left", 1.0), ("right", -1.0))
        )
        return PlainStyle("direct"), OneOfStyle("roundabout", tuple(sides))
