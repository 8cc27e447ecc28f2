"""Whether more primitives help, judged by the point cloud alone, as it would be on an arm.

A person who watches stops an arm when the thing is in order, or when nothing gets better any more.

Shapes: P points of a cloud, M points of the goal.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.metrics import chamfer_distance
from robopref.errors import check_at_least, check_between


@dataclass(frozen=True)
class StopConfig:
    """When an episode ends because nothing gets better any more."""

    patience: int = 5
    """Primitives without progress; 0 goes on until the environment's own limit."""
    least_gain: float = 0.02
    """Share of the start's distance from the goal that counts as progress."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("patience", self.patience, 0)
        check_between("least_gain", self.least_gain, 0, 1)


class Progress:
    """Follows how far a cloud is from the goal, wherever it lies and however it is turned.

    Args:
        config: When there is none.
        goal: Points of the goal [m].
    """

    def __init__(self, config: StopConfig, goal: Float[np.ndarray, "M 2"]) -> None:
        self.config = config
        self.goal = goal
        self._least: float | None = None
        self._enough = 0.0
        self._idle = 0

    def has_stopped(self, cloud: Float[np.ndarray, "P 3"]) -> bool:
        """Take note of the next cloud, the first one before any primitive.

        Returns:
            Whether the least distance seen has not shrunk enough for too long.
        """
        if not self.config.patience:
            return False
        distance = chamfer_distance(cloud.astype(np.float64), self.goal)
        if self._least is None:
            self._least, self._enough = distance, self.config.least_gain * distance
        elif distance < self._least - self._enough:
            self._least, self._idle = distance, 0
        else:
            self._idle += 1
        return self._idle >= self.config.patience
