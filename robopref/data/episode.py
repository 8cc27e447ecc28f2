"""One episode in memory: T actions and the T + 1 observations around them.

Shapes: T episode steps, Do observation size, Da action size, Ds size of the simulator state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.errors import DataError
from robopref.types import STATE, Obs, SegmentBatch, SimState

UNKNOWN = "unknown"
"""Key of metadata: "reward" and "success" where what was imported says nothing of them."""


def knows(metadata: Mapping[str, Any], name: str) -> bool:
    """Return whether "reward" or "success" of an episode with this metadata was recorded.

    Example:
        >>> knows({"unknown": ["reward"]}, "reward"), knows({}, "reward")
        (False, True)
    """
    return name not in metadata.get(UNKNOWN, ())


@dataclass(frozen=True, eq=False)
class Episode:
    """What happened from a reset to its end.

    Args:
        id: UUID made at recording; stays when a data set is compacted, merged or filtered.
        obs: Observations by LeRobot key, each (T + 1, ...).
        action: Executed actions, (T, Da), float32.
        reward: The environment's own reward after each action, (T,), float32; zeros where it is not
            known (`knows`).
        success: Whether the task counted as solved after each action, (T,), bool; likewise.
        terminated: The task itself ended the episode.
        truncated: A time limit or an interruption ended it.
        env: The environment as given to `make_env`, such as "metaworld/reach-v3".
        task: What was to be done, in words.
        seed: Seed of the reset.
        fps: Steps a second [Hz].
        sim_states: Simulator state before each action and at the end, (T + 1, Ds), float64.
        sim_episode: The part of the simulator state that a reset fixes, (De,), float64.
        metadata: What else is known, as plain values: policy, style, stage and the like.
        extras: What was recorded beside what a policy sees, each (T + 1, ...), such as what an arm
            was sent; keys start with "safety.", and nothing that learns is given it.

    Raises:
        DataError: Lengths disagree, or an observation or action is not finite.
    """

    id: str
    obs: Obs
    action: np.ndarray
    reward: np.ndarray
    success: np.ndarray
    terminated: bool
    truncated: bool
    env: str
    task: str
    seed: int
    fps: float
    sim_states: np.ndarray | None = None
    sim_episode: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check lengths and values once, at the border."""
        num_steps = len(self.action)
        if num_steps < 1 or self.action.ndim != 2:
            raise DataError(
                f"Episode {self.id} must have actions of shape (T, Da) with T at least 1, "
                f"got {self.action.shape}."
            )
        for key, value in self.columns.items():
            if len(value) != num_steps + 1:
                raise DataError(
                    f"Episode {self.id} has {num_steps} actions and {len(value)} observations "
                    f"'{key}'; it needs one observation more than actions."
                )
            _check_finite(self.id, key, value)
        _check_finite(self.id, "action", self.action)
        for key in ("reward", "success"):
            if getattr(self, key).shape != (num_steps,):
                raise DataError(
                    f"Episode {self.id}: `{key}` must have shape ({num_steps},), "
                    f"got {getattr(self, key).shape}."
                )
        if self.sim_states is not None and len(self.sim_states) != num_steps + 1:
            raise DataError(
                f"Episode {self.id} has {num_steps} actions and {len(self.sim_states)} simulator "
                "states; it needs one state more than actions."
            )

    def __len__(self) -> int:
        """Return T, the number of actions."""
        return len(self.action)

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Observations and extras by key, each (T + 1, ...)."""
        return {**self.obs, **self.extras}

    def knows(self, name: str) -> bool:
        """Return whether "reward" or "success" was recorded, as `knows` does."""
        return knows(self.metadata, name)

    @property
    def succeeded(self) -> bool:
        """Whether the task was solved at any step."""
        return bool(self.success.any())

    @property
    def state(self) -> np.ndarray:
        """The state observations, (T + 1, Do)."""
        return self.obs[STATE]

    def sim_state(self, step: int) -> SimState:
        """Return the simulator's state before action `step` (or at the end, for step T).

        Raises:
            DataError: The episode was recorded without simulator states.
        """
        if self.sim_states is None or self.sim_episode is None:
            raise DataError(f"Episode {self.id} was recorded without simulator states.")
        return SimState(self.sim_states[step], self.sim_episode)


def check_has_episodes(episodes: Sequence[Episode]) -> None:
    """Raise unless there is something to train on.

    Raises:
        ValueError: There are no episodes.
    """
    if not episodes:
        raise ValueError("There are no episodes to train on. Record some with: robopref collect.")


def batch_segments(parts: list[tuple[Obs, np.ndarray]]) -> SegmentBatch:
    """Pad (observations, actions) of segments of any length to one batch.

    Args:
        parts: For each segment the observations before each action, and the actions.
    """
    longest = max(len(action) for _, action in parts)
    mask = np.zeros((len(parts), longest), bool)
    action = np.zeros((len(parts), longest, parts[0][1].shape[1]), np.float32)
    obs = {
        key: np.zeros((len(parts), longest, *value.shape[1:]), value.dtype)
        for key, value in parts[0][0].items()
    }
    for i, (part_obs, part_action) in enumerate(parts):
        length = len(part_action)
        mask[i, :length] = True
        action[i, :length] = part_action
        for key, value in part_obs.items():
            obs[key][i, :length] = value
    return SegmentBatch(obs, action, mask)


def _check_finite(episode_id: str, key: str, value: np.ndarray) -> None:
    if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        step = int(np.argwhere(~np.isfinite(value))[0][0])
        raise DataError(f"Episode {episode_id}: '{key}' is not finite at step {step}.")
