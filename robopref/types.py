"""Plain data that crosses the borders between parts: numpy arrays and nothing else.

Shapes: B batch, L segment length (padded), T episode steps, Do observation size, Da action size,
Ds size of the simulator state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

STATE = "observation.state"
"""Key of the state observation, as in LeRobot."""
IMAGES = "observation.images."
"""Prefix of the keys of camera observations, as in LeRobot."""
POINTS = "observation.points"
"""Key of the point cloud observation, (P, 3): positions in the table's or robot's frame [m]."""
NUM_POINTS = "observation.num_points"
"""Key of how many points there truly were before the cloud was resampled to P, (1,)."""
ACTION = "action"
"""Key of the action, as in LeRobot."""

Array = np.ndarray
Obs = Mapping[str, np.ndarray]
"""Observations by LeRobot key; leading axes as the context says."""


@dataclass(frozen=True, eq=False)
class SimState:
    """Everything needed to put a simulator back where it was, bit for bit.

    Args:
        step: What changes with every step, shape (Ds,).
        episode: What is fixed by a reset, such as edited model fields, shape (De,).
    """

    step: Float[np.ndarray, " Ds"]
    episode: Float[np.ndarray, " De"]


@dataclass(frozen=True, eq=False)
class SegmentBatch:
    """Segments as padded arrays, the form in which reward models see them.

    Args:
        obs: Observation before each action, by LeRobot key; each (B, L, ...).
        action: Actions, (B, L, Da).
        mask: True where a step is real, (B, L); real steps come first.
    """

    obs: Mapping[str, np.ndarray]
    action: Float[np.ndarray, "B L Da"]
    mask: Bool[np.ndarray, "B L"]

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same steps."""
        for key, value in self.obs.items():
            if value.shape[:2] != self.mask.shape:
                raise ValueError(
                    f"`obs['{key}']` must start with shape {self.mask.shape} to match `mask`, "
                    f"got {value.shape}."
                )
        if self.action.shape[:2] != self.mask.shape:
            raise ValueError(
                f"`action` must start with shape {self.mask.shape} to match `mask`, "
                f"got {self.action.shape}."
            )

    def __len__(self) -> int:
        """Return B."""
        return len(self.mask)

    @property
    def lengths(self) -> np.ndarray:
        """Number of real steps of each segment, (B,)."""
        lengths: np.ndarray = self.mask.sum(axis=1)
        return lengths

    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> "SegmentBatch":
        """Return the chosen segments."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        return SegmentBatch(
            {key: value[chosen] for key, value in self.obs.items()},
            self.action[chosen],
            self.mask[chosen],
        )
