"""Exact states of Gymnasium environments: the simulator's own, or the actions that led there.

Shapes: Ds size of the state of a step, Da action size.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from robopref.render import import_mujoco

_DERIVED = (
    "xpos",
    "xquat",
    "xmat",
    "xipos",
    "ximat",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "subtree_com",
    "cinert",
    "cvel",
    "cfrc_ext",
    "cacc",
    "qfrc_actuator",
    "qfrc_constraint",
    "actuator_force",
    "ten_length",
    "ten_velocity",
    "sensordata",
    "cam_xpos",
    "cam_xmat",
    "light_xpos",
    "light_xdir",
)
"""Gymnasium's MuJoCo environments read these after `mj_step`, when they are one substep old: a
forward pass would give newer values, and another reward (Ant's speed is the change of `xpos`)."""


class Snapshot(Protocol):
    """Knows how to write down where an environment is, and how to go back there."""

    size: int

    def begin(self, seed: int, obs: Any) -> None:
        """Take note of a reset."""
        ...

    def record(self, action: np.ndarray, obs: Any) -> None:
        """Take note of a step."""
        ...

    def fits(self, size: int) -> bool:
        """Return whether a state of this size can be gone back to."""
        ...

    def pack(self) -> np.ndarray:
        """Return the state, (Ds,)."""
        ...

    def unpack(self, state: np.ndarray, seed: int) -> Any:
        """Go to `state` of an episode reset with `seed`; return the observation there."""
        ...


class MujocoSnapshot:
    """The whole state of one of Gymnasium's MuJoCo environments, the observation included.

    Their steps draw no random numbers and keep nothing else. Resetting with the seed of the episode
    puts back what a reset draws.

    Args:
        env: The environment, without a time limit.
        obs_size: Size of the observation.
    """

    def __init__(self, env: Any, obs_size: int) -> None:
        self._env, self._raw = env, env.unwrapped
        self._mujoco = import_mujoco()
        self._spec = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._num_physics = self._mujoco.mj_stateSize(self._raw.model, self._spec)
        self._derived = [name for name in _DERIVED if getattr(self._raw.data, name).size]
        self._obs = np.zeros(obs_size)
        self._seed: int | None = None
        self.size = len(self.pack())

    def begin(self, seed: int, obs: Any) -> None:
        """Keep the observation."""
        self._seed, self._obs = seed, obs

    def record(self, action: np.ndarray, obs: Any) -> None:
        """Keep the observation."""
        self._obs = obs

    def fits(self, size: int) -> bool:
        """Return whether it is the simulator's size."""
        return size == self.size

    def pack(self) -> np.ndarray:
        """Return physics, observation and derived quantities."""
        physics = np.empty(self._num_physics)
        self._mujoco.mj_getState(self._raw.model, self._raw.data, physics, self._spec)
        derived = [getattr(self._raw.data, name).ravel() for name in self._derived]
        return np.concatenate([physics, np.ravel(self._obs), *derived])

    def unpack(self, state: np.ndarray, seed: int) -> Any:
        """Write everything back."""
        if seed != self._seed:
            self._env.reset(seed=seed)
            self._seed = seed
        model, data, start = self._raw.model, self._raw.data, self._num_physics
        self._mujoco.mj_setState(model, data, state[:start], self._spec)
        self._mujoco.mj_forward(model, data)
        # The line above wrote the solver's warm start, which the next step begins with.
        self._mujoco.mj_setState(model, data, state[:start], self._spec)
        shape, size = np.shape(self._obs), np.size(self._obs)
        self._obs = state[start : start + size].reshape(shape)
        start += size
        for name in self._derived:
            field = getattr(data, name)
            field[:] = state[start : start + field.size].reshape(field.shape)
            start += field.size
        return self._obs


class ReplaySnapshot:
    """The actions since the reset, which are executed again to go back.

    Exact for environments in which seed and actions decide everything. Going one step further than
    the present state executes that step only, so going through an episode in order costs it once.

    Args:
        env: The environment, without a time limit.
        convert: From a recorded action to the environment's own.
        action_size: Da.
        max_episode_steps: The most actions that a state can hold.
    """

    def __init__(
        self,
        env: Any,
        convert: Callable[[np.ndarray], Any],
        action_size: int,
        max_episode_steps: int,
    ) -> None:
        self._env, self._convert = env, convert
        self._action_size = action_size
        self.size = max_episode_steps * action_size + 1
        self._actions: list[np.ndarray] = []
        self._seed: int | None = None
        self._obs: Any = None

    def begin(self, seed: int, obs: Any) -> None:
        """Start a new list of actions."""
        self._actions, self._seed, self._obs = [], seed, obs

    def record(self, action: np.ndarray, obs: Any) -> None:
        """Add to the list of actions."""
        self._actions.append(action)
        self._obs = obs

    def fits(self, size: int) -> bool:
        """Return whether it holds whole actions; their number depends on the time limit."""
        return size > 0 and (size - 1) % self._action_size == 0

    def pack(self) -> np.ndarray:
        """Return the number of actions, and the actions."""
        state = np.zeros(self.size)
        state[0] = len(self._actions)
        if self._actions:
            flat = np.concatenate(self._actions)
            state[1 : 1 + len(flat)] = flat
        return state

    def unpack(self, state: np.ndarray, seed: int) -> Any:
        """Execute the actions that the environment has not executed yet."""
        actions = state[1:].reshape(-1, self._action_size)[: int(state[0])].astype(np.float32)
        done = len(self._actions)
        ahead = (
            seed == self._seed
            and done <= len(actions)
            and all(np.array_equal(a, b) for a, b in zip(self._actions, actions, strict=False))
        )
        if not ahead:
            self.begin(seed, self._env.reset(seed=seed)[0])
        for action in actions[len(self._actions) :]:
            self.record(action, self._env.step(self._convert(action))[0])
        return self._obs
