"""Exact states of a Meta-World environment, as flat arrays.

MuJoCo's `mjSTATE_INTEGRATION` is not enough: the package keeps a previous observation, a step
counter and per-episode numbers (the random vector, the target, initial positions, margins of the
reward) in attributes of the environment, and moves bodies and sites of the model itself at reset.
Its own `set_env_state` keeps positions and velocities only and drifts.

Shapes: Ds size of the state of a step, De size of what a reset fixes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from robopref.types import SimState

STEP_ATTRIBUTES = (
    "curr_path_length",
    "_prev_obs",
    "_target_to_obj_init",
    "pickCompleted",
    "placeCompleted",
    "reachCompleted",
)
"""Attributes that code reached from `step` assigns, in any of the 50 tasks.
tests/envs/test_metaworld.py compares all attributes before and after steps."""
DERIVED_ATTRIBUTES = ("_last_stable_obs",)
"""Assigned by `step` and read only after a simulator exception, which nothing raises."""
MODEL_FIELDS = ("body_pos", "body_quat", "site_pos")
"""Fields of the model that a reset edits (found by comparing whole models between seeds)."""
OBS_SIZE = 39
_NONE = -1.0
"""Stands for None, which only `_target_to_obj_init` can be, a distance. NaN would stand for it as
well, but not survive JSON."""


class StateLayout:
    """Where each number of a state stands in the flat arrays, for one task.

    Args:
        raw: The package's environment, after a reset.
        mujoco: The module.
    """

    def __init__(self, raw: Any, mujoco: Any) -> None:
        self._mujoco = mujoco
        self._spec = mujoco.mjtState.mjSTATE_INTEGRATION
        self._num_physics = mujoco.mj_stateSize(raw.model, self._spec)
        self._step_attributes = [
            (name, _size(raw.__dict__[name])) for name in STEP_ATTRIBUTES if name in raw.__dict__
        ]
        self._episode_attributes = list(_episode_attributes(raw))
        self.step_size = self._num_physics + OBS_SIZE + sum(n for _, n in self._step_attributes)
        self.episode_size = sum(getattr(raw.model, name).size for name in MODEL_FIELDS) + sum(
            np.size(raw.__dict__[name]) for name in self._episode_attributes
        )

    def pack(self, raw: Any, obs: np.ndarray) -> SimState:
        """Return the state of `raw`, whose newest observation is `obs`."""
        physics = np.empty(self._num_physics)
        self._mujoco.mj_getState(raw.model, raw.data, physics, self._spec)
        step = [physics, obs.astype(np.float64)]
        step += [_to_numbers(raw.__dict__[name]) for name, _ in self._step_attributes]
        episode = [getattr(raw.model, name).ravel() for name in MODEL_FIELDS]
        episode += [_to_numbers(raw.__dict__[name]) for name in self._episode_attributes]
        return SimState(np.concatenate(step), np.concatenate(episode))

    def unpack_episode(self, raw: Any, episode: np.ndarray) -> None:
        """Put what a reset fixes into `raw`."""
        start = 0
        for name in MODEL_FIELDS:
            field = getattr(raw.model, name)
            field[:] = episode[start : start + field.size].reshape(field.shape)
            start += field.size
        for name in self._episode_attributes:
            stop = start + np.size(raw.__dict__[name])
            _assign(raw, name, episode[start:stop])
            start = stop

    def unpack_step(self, raw: Any, step: np.ndarray) -> np.ndarray:
        """Put the state of a step into `raw`; return its observation."""
        physics = step[: self._num_physics]
        self._mujoco.mj_setState(raw.model, raw.data, physics, self._spec)
        self._mujoco.mj_forward(raw.model, raw.data)
        # The line above wrote the solver's warm start, which the next step begins with.
        self._mujoco.mj_setState(raw.model, raw.data, physics, self._spec)
        start = self._num_physics
        obs = step[start : start + OBS_SIZE].astype(np.float32)
        start += OBS_SIZE
        for name, size in self._step_attributes:
            _assign(raw, name, step[start : start + size])
            start += size
        return obs


def _episode_attributes(raw: Any) -> Iterator[str]:
    """Yield the numeric attributes that only a reset assigns."""
    for name, value in sorted(raw.__dict__.items()):
        if name in STEP_ATTRIBUTES or name in DERIVED_ATTRIBUTES:
            continue
        if isinstance(value, (bool, int, float, np.number)) or (
            isinstance(value, np.ndarray) and value.dtype.kind in "bif" and not _is_view(value)
        ):
            yield name


def _is_view(array: np.ndarray) -> bool:
    """Whether `array` shows memory of MuJoCo, so that it changes by itself."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base is not None


def _size(value: Any) -> int:
    return 1 if value is None else int(np.size(value))


def _to_numbers(value: Any) -> np.ndarray:
    return np.asarray(_NONE if value is None else value, np.float64).ravel()


def _assign(raw: Any, name: str, numbers: np.ndarray) -> None:
    """Set an attribute, keeping the type and shape that the environment gave it."""
    old = raw.__dict__[name]
    new: Any
    if isinstance(old, np.ndarray):
        new = numbers.reshape(old.shape).astype(old.dtype)
    elif name == "_target_to_obj_init":
        new = None if numbers[0] == _NONE else np.float64(numbers[0])
    elif isinstance(old, (float, np.floating)):
        new = np.float64(numbers[0])
    else:
        new = type(old)(numbers[0])
    raw.__dict__[name] = new
