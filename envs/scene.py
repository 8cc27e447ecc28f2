"""What an observation shows, whatever the robot and the task: hand, gripper, objects, goal.

Every adapter that knows where these lie in its observations says so in its config's `read_scene`;
what compares tasks with each other is computed from scenes alone.

Shapes: S observations of an episode (T + 1) or a segment (L), K objects, Do observation size.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.envs import ENVS


@dataclass(frozen=True, eq=False)
class Scene:
    """Where things are, one row an observation. Positions are in the world frame, z up [m].

    Args:
        hand: The point between the fingertips.
        opening: How far the gripper is open: 0 closed, 1 open.
        objects: What is to be moved, the most important first; K is at least 1.
        goal: Where the first object, or the hand where the task is only to reach, should go; NaN
            where a task has no such place.
    """

    hand: Float[np.ndarray, "S 3"]
    opening: Float[np.ndarray, " S"]
    objects: Float[np.ndarray, "S K 3"]
    goal: Float[np.ndarray, "S 3"]

    def __len__(self) -> int:
        """Return S."""
        return len(self.hand)

    def __getitem__(self, index: slice) -> "Scene":
        """Return the chosen observations."""
        return Scene(self.hand[index], self.opening[index], self.objects[index], self.goal[index])


def check_size(task: str, state: Float[np.ndarray, "S Do"], size: int) -> None:
    """Check that states are of the size that a task's observations have.

    Raises:
        ValueError: They are of another size.
    """
    if state.shape[1] != size:
        raise ValueError(f"Observations of '{task}' have {size} numbers, got {state.shape[1]}.")


@runtime_checkable
class ReadsScenes(Protocol):
    """A config of an environment whose observations can be read as scenes."""

    def read_scene(self, state: Float[np.ndarray, "S Do"]) -> Scene:
        """Return the scene of each observation."""
        ...


def can_read_scene(env_id: str) -> bool:
    """Return whether it is known what observations that `env_id` made mean."""
    name = env_id.partition("/")[0]
    return name in ENVS and issubclass(ENVS.config_class(name), ReadsScenes)


def read_scene(env_id: str, state: Float[np.ndarray, "S Do"]) -> Scene:
    """Return the scenes of observations that `env_id` made.

    Args:
        env_id: As for `make_env`, such as "metaworld/reach-v3".
        state: `observation.state`.

    Raises:
        UnknownNameError: There is no such environment or task.
        ValueError: Nobody says what this environment's observations mean.
    """
    name, _, task = env_id.partition("/")
    config = ENVS.config_class(name)(task=task)
    if not isinstance(config, ReadsScenes):
        raise ValueError(
            f"What is hand, object and goal in observations of '{env_id}' is not known. An adapter "
            "says so with a method `read_scene` of its config (docs/environments.md)."
        )
    return config.read_scene(state)
